"""A model of a few units that knows the pitches: for tests of what surrounds the networks."""

import jax
import numpy as np

from umss_jax import model
from umss_jax.config import DecoderConfig, EncoderConfig, ModelConfig
from umss_jax.inference import Heard, ModelEngine

SMALL = ModelConfig(encoder=EncoderConfig(hidden=8, latent=4), decoder=DecoderConfig(hidden=8))
F0_HZ = np.float32([440.0, 330.0, 220.0, 110.0])


class KnownPitch(ModelEngine):
    """An engine whose F0 networks are replaced by what the test knows."""

    def known_f0(self, mixture_16k):
        frames = mixture_16k.shape[-1] // 256
        shape = (len(mixture_16k), len(F0_HZ), frames)
        return np.broadcast_to(F0_HZ[None, :, None], shape)

    def analyse(self, mixture_16k):
        known = self.known_f0(mixture_16k)
        return model.Analysis(None, self.salience(mixture_16k), None, None, None, known)

    def _known(self, mixture_16k, f0_hz_synth, sang_before=None):
        known = self.known_f0(mixture_16k) if f0_hz_synth is None else f0_hz_synth
        return Heard(None, None, known)

    def _heard_pitches(self, mixture_16k, sang_before=None):
        return Heard(self.salience(mixture_16k), None, self.known_f0(mixture_16k))

    def salience(self, mixture_16k):
        frames = mixture_16k.shape[-1] * 22050 // 16000 // 256
        salience = np.zeros((len(mixture_16k), 360, frames), np.float32)
        for hz in F0_HZ:
            salience[:, round(60 * np.log2(hz / 32.7))] = 0.9
        return salience


def small_engine():
    """Fresh weights of all parts but the salience network."""
    parts = ("assignment", "encoder", "decoder")
    variables = model.init_variables(jax.random.key(0), SMALL, parts)
    return KnownPitch("small", variables, config=SMALL)
