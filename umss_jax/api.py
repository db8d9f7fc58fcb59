"""The package in a few lines: load a model by name, separate an array or a file.

>>> from umss_jax.api import load
>>> separator = load()
>>> result = separator.separate(audio, 44_100)
>>> result.voices["tenor"], result.time_s, result.f0_hz_synth
>>> separator.separate_file("choir.wav", "separated").folder
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from umss_jax.audio.arguments import of_kind, path_of, text_of
from umss_jax.audio.arrays import Sound, sound_of
from umss_jax.audio.recording import scan
from umss_jax.config import (
    RULES,
    Assigner,
    Chain,
    TrackAssigner,
    VoicesConfig,
    with_chain,
    with_voices,
)
from umss_jax.device import own_settings
from umss_jax.errors import UsageError
from umss_jax.networks.parts import resolve_assigner, voice_model
from umss_jax.scores.fit import Fit, ScoreFile, open_score
from umss_jax.separation.config import SeparationConfig
from umss_jax.separation.pitch_files import PitchOptions, track_file
from umss_jax.separation.scored import separate_with_score, track_with_score
from umss_jax.separation.stems import StemOptions, Track, separate_file
from umss_jax.separation.stream import (
    PitchTracks,
    Progress,
    Separation,
    segments_of_array,
    separate_sound,
    track_array,
)
from umss_jax.voice_sets import as_voices
from umss_jax.weights.combine import (
    fitting_parts,
    load_weights,
    model_name,
    stored_voices,
)
from umss_jax.weights.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from umss_jax.config import ModelConfig
    from umss_jax.inference import ModelEngine
    from umss_jax.model import ModelOutput, UnetSeparation
    from umss_jax.networks.parts import AssignerKind

Result = TypeVar("Result", Separation, Track)
ScoreArgument = str | os.PathLike[str] | ScoreFile | None
"""A score's file, as its name or opened."""
VoicesArgument = str | os.PathLike[str] | Sequence[str] | VoicesConfig | None
"""Who sings: a preset, names, a TOML file, or the voices with their ranges."""


class Separator:
    """A loaded model: networks with their weights, and segments, overlap and seed."""

    def __init__(self, engine: ModelEngine, config: SeparationConfig | None = None) -> None:
        self.engine = engine
        self.config = of_kind(config, SeparationConfig, "config")

    def separate(
        self, audio: ArrayLike, sample_rate_hz: float, score: ScoreArgument = None
    ) -> Separation:
        """Separates an array of audio: :func:`umss_jax.separation.stream.separate_array`.

        With a score, a file or the result of :func:`umss_jax.scores.fit.open_score`, the voices' F0
        are by its notes; ``fit`` of the result says how it fits.
        """
        opened = _opened(score, self.engine.config.voices)
        return _separated(sound_of(audio, sample_rate_hz), self.engine, self.config, opened)

    def separate_file(
        self,
        path: str | os.PathLike[str],
        out: str | os.PathLike[str],
        options: StemOptions | None = None,
        progress: Progress | None = None,
        score: ScoreArgument = None,
    ) -> Track:
        """Separates a file into a folder; see :func:`umss_jax.separation.stems.separate_file`."""
        path, out = path_of(path, "path"), path_of(out, "out")
        options = of_kind(options, StemOptions, "options")
        track = separate_file(
            path,
            out,
            self.engine,
            self.config,
            options,
            progress,
            score=_opened(score, self.engine.config.voices),
        )
        return _warned(track, str(path), self.engine.config.voices)

    def intermediates(
        self, audio: ArrayLike, sample_rate_hz: float
    ) -> Iterator[tuple[float, ModelOutput | UnetSeparation]]:
        """Everything the model computes on the way from an array of audio, by segments.

        Returns:
            Iterator over the start of each segment in seconds, and its intermediates (batch of 1):
            features, salience, assigned salience, F0, latent, controls, harmonic and noise parts,
            voices; of a model with a U-Net, its masks and magnitudes after the F0.
        """
        segments = segments_of_array(audio, sample_rate_hz, self.engine, self.config)
        ask = self.engine.intermediates
        return (
            (start_s, ask(mixture[None], np.asarray([seed], np.uint32)))
            for start_s, mixture, seed in segments
        )


def load(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    assigner: str = Assigner.AUTO,
    device: str = "auto",
    config: SeparationConfig | None = None,
    init_missing: bool = False,
    chain: str = Chain.IMPROVED,
    voices: VoicesArgument = None,
) -> Separator:
    """Loads a model.

    Args:
        name: Name in the store of weights, or a ``.safetensors`` file; several joined by ``+`` are
            combined (:func:`umss_jax.weights.combine.load_weights`).
        assigner: ``auto`` (the model's own network, ``ranges`` where that is of other voices, or
            ``heuristic`` where it has none), ``voas-cnn``, ``voas-clstm``, ``small-voices``,
            ``wide-voices``, ``ranges`` or ``heuristic``.
        device: ``auto``, ``cpu``, ``gpu`` or ``tpu``.
        config: Segments, overlap and seed.
        init_missing: Initialise encoder and decoder at random where the model has none: they must
            be trained, on the recording itself for instance, before their stems mean anything.
        chain: ``improved``, ``paper`` or ``thorough``: see :class:`umss_jax.config.Chain`.
        voices: Who sings (:func:`umss_jax.voice_sets.as_voices`); by default those that the
            weights were trained with: soprano, alto, tenor and bass.

    Raises:
        UnknownModelError: There is no such model.
        WeightsError: Its weights are damaged or do not fit.
        DeviceError: There is no such device.
        UsageError: There is no such assigner, chain or ensemble, or the model lacks a network and
            ``init_missing`` was not asked for, or it was asked for with a U-Net.
    """
    from umss_jax.inference import ModelEngine

    config = of_kind(config, SeparationConfig, "config")
    asked = _known(assigner, Assigner)
    name = _model(name)
    variables, chosen, model_config, provenance = _open(
        name, asked, device, chain, as_voices(voices)
    )
    variables = _complete(name, variables, chosen, model_config, init_missing, config.seed)
    return Separator(
        ModelEngine(model_name(name), variables, chosen, provenance, model_config), config
    )


def separate(
    recording: str | os.PathLike[str] | ArrayLike,
    sample_rate_hz: float | None = None,
    out: str | os.PathLike[str] = "separated",
    score: ScoreArgument = None,
    **options: Any,
) -> Separation | Track:
    """Separates a file into the folder ``out``, or an array of audio in memory.

    The options are those of :func:`load`; an array needs its sample rate. What is wrong with the
    recording or the score (as for :meth:`Separator.separate`) is found before a model is loaded.

    Raises:
        UsageError: an array without its rate, a file with one, or neither; further errors as
            :func:`load`, :meth:`Separator.separate` and :meth:`Separator.separate_file`.
    """
    if recording is None or isinstance(recording, (str, bytes, os.PathLike)):
        path, folder = path_of(recording, "recording"), path_of(out, "out")
        if sample_rate_hz is not None:
            raise UsageError("a file says its sample rate itself", "leave sample_rate_hz out")
        scanned, opened = scan(path), _opened(score, _voices_of(options) if score else None)
        loaded = load(**options)
        track = separate_file(
            path, folder, loaded.engine, loaded.config, recording=scanned, score=opened
        )
        return _warned(track, str(path), loaded.engine.config.voices)
    if sample_rate_hz is None:
        raise UsageError("an array has no sample rate of its own", "pass sample_rate_hz")
    sound = sound_of(recording, sample_rate_hz)
    opened = _opened(score, _voices_of(options) if score else None)
    loaded = load(**options)
    return _separated(sound, loaded.engine, loaded.config, opened)


class PitchTracker:
    """The F0 networks alone, otherwise as :class:`Separator`."""

    def __init__(self, engine: ModelEngine, config: SeparationConfig | None = None) -> None:
        self.engine = engine
        self.config = of_kind(config, SeparationConfig, "config")

    def track(
        self, audio: ArrayLike, sample_rate_hz: float, score: ScoreArgument = None
    ) -> PitchTracks:
        """Pitches of an array of audio: :func:`umss_jax.separation.stream.track_array`.

        With a score as :meth:`Separator.separate`.
        """
        opened = _opened(score, self.engine.config.voices)
        if opened is None:
            return track_array(audio, sample_rate_hz, self.engine, self.config)
        result = track_with_score(sound_of(audio, sample_rate_hz), self.engine, self.config, opened)
        _tell_of(result.fit, "the array")
        return result

    def track_file(
        self,
        path: str | os.PathLike[str],
        out: str | os.PathLike[str],
        options: PitchOptions | None = None,
        progress: Progress | None = None,
        score: ScoreArgument = None,
    ) -> list[Path]:
        """Pitches of a file into a folder: :func:`umss_jax.separation.pitch_files.track_file`."""
        path, out = path_of(path, "path"), path_of(out, "out")
        options = of_kind(options, PitchOptions, "options")
        return track_file(
            path,
            out,
            self.engine,
            self.config,
            options,
            progress,
            score=_opened(score, self.engine.config.voices),
            tell=logging.getLogger("umss_jax").warning,
        )


def load_tracker(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    assigner: str = TrackAssigner.AUTO,
    device: str = "auto",
    config: SeparationConfig | None = None,
    chain: str = Chain.IMPROVED,
    voices: VoicesArgument = None,
) -> PitchTracker:
    """Loads the F0 networks of a model; encoder and decoder are not needed.

    Args and errors as :func:`load`; the assigner may also be ``none``, which leaves the peaks of
    every frame without voices.
    """
    from umss_jax.inference import ModelEngine

    config = of_kind(config, SeparationConfig, "config")
    asked = _known(assigner, TrackAssigner)
    name = _model(name)
    variables, chosen, model_config, provenance = _open(
        name, asked, device, chain, as_voices(voices)
    )
    _refuse_missing(name, variables, {"salience"} | _assigning_parts(chosen))
    engine = ModelEngine(model_name(name), variables, chosen, provenance, model_config)
    return PitchTracker(engine, config)


def _separated(
    sound: Sound, engine: ModelEngine, config: SeparationConfig, score: ScoreFile | None
) -> Separation:
    """Separates an array that was checked, by a score where there is one."""
    if score is None:
        result = separate_sound(sound, engine, config)
    else:
        result = separate_with_score(sound, engine, config, score)
    return _warned(result, "the array", engine.config.voices)


def _warned(result: Result, name: str, voices: VoicesConfig) -> Result:
    """Logs that a recording is not what the model is for, where it is not."""
    if warning := result.likeness.warning(name, voices):
        logging.getLogger("umss_jax").warning(warning)
    if isinstance(result, Track):
        if result.score_warning:
            logging.getLogger("umss_jax").warning(result.score_warning)
    else:
        _tell_of(result.fit, name)
    return result


def _tell_of(fit: Fit | None, name: str) -> None:
    """Logs that a score fits little of a recording, where it does."""
    if fit is not None and (warning := fit.warning(name)):
        logging.getLogger("umss_jax").warning(warning)


def _opened(score: ScoreArgument, voices: VoicesConfig | None) -> ScoreFile | None:
    """A score whose parts are those of the voices."""
    if score is None:
        return None
    voices = voices or VoicesConfig()
    if not isinstance(score, ScoreFile):
        return open_score(path_of(score, "score"), voices.names)
    if score.voices != voices.names:
        raise UsageError(
            f"the score was opened for {', '.join(score.voices)}, the voices are "
            f"{', '.join(voices.names)}",
            "open it for these (open_score(path, voices))",
        )
    return score


def _voices_of(options: dict[str, Any]) -> VoicesConfig:
    """The voices that the options of :func:`load` stand for."""
    name = _model(options.get("name", DEFAULT_MODEL))
    return as_voices(options.get("voices")) or stored_voices(name)


_RECORDED = ("tensors_sha256", "source_sha256", "architecture", "origin", "licence")


def _known(assigner: str, kinds: type[AssignerKind]) -> AssignerKind:
    if assigner not in list(kinds):
        raise UsageError(f"no assigner is called {assigner!r}", f"choose from {', '.join(kinds)}")
    return kinds(assigner)


def _model(name: str | os.PathLike[str]) -> str:
    return text_of(name, "name", "name a model (umss-jax weights list) or a .safetensors file")


def _open(
    name: str, assigner: AssignerKind, device: str, chain: str, voices: VoicesConfig | None
) -> tuple[dict[str, Any], AssignerKind, ModelConfig, dict[str, object]]:
    """Weights, what assigns, the configuration that they carry, and where they come from."""
    from umss_jax.device import select_device

    if chain not in list(Chain):
        raise UsageError(f"no chain is called {chain!r}", f"choose from {', '.join(Chain)}")
    device_name = select_device(device)
    variables, config, metadata = load_weights(name)
    chosen = resolve_assigner(assigner, "assignment" in variables["params"], config, name, voices)
    if voices is not None:
        # What is kept of the model must not hold a network that assigns to others.
        variables = fitting_parts(variables, config.voices, voices)
        config = with_voices(config, voices)
    recorded = metadata.get("combined")
    source = _recorded(metadata)
    if recorded:
        source = {one: _recorded(about) for one, about in recorded.items()}
    provenance: dict[str, object] = {
        "device": device_name,
        "assigner": str(chosen),
        "chain": str(chain),
        "weights": source,
    }
    return variables, chosen, with_chain(config, Chain(chain)), provenance


def _recorded(metadata: dict[str, Any]) -> dict[str, object]:
    return {key: metadata[key] for key in _RECORDED if key in metadata}


def _assigning_parts(assigner: Assigner | TrackAssigner) -> set[str]:
    """What an assigner needs of the weights besides the salience network."""
    return set() if assigner in (*RULES, TrackAssigner.NONE) else {"assignment"}


def _refuse_missing(name: str, variables: dict[str, Any], needed: set[str]) -> None:
    missing = sorted(needed - set(variables["params"]))
    if missing:
        raise UsageError(
            f"model {name} has no {' and no '.join(missing)}",
            f"choose a model with F0 networks, or combine two (-n {name}+OTHER)",
        )


@own_settings
def _complete(
    name: str,
    variables: dict[str, Any],
    assigner: Assigner,
    config: ModelConfig,
    init_missing: bool,
    seed: int,
) -> dict[str, Any]:
    """All parts that are needed, initialised where allowed; refuses what is missing otherwise."""
    _refuse_missing(name, variables, {"salience"} | _assigning_parts(assigner))
    voices = voice_model(variables["params"])
    if voices.needs_stems and init_missing:
        raise UsageError(
            f"model {name} separates by a U-Net, which learns from stems alone",
            "leave out --adapt, or train it (umss-jax train, strategy unet)",
        )
    missing = sorted(set(voices.parts) - set(variables["params"]))
    if not missing:
        return variables
    if not init_missing:
        raise UsageError(
            f"model {name} has no {' and no '.join(missing)}",
            "train them on the recording itself with --adapt 200, or choose another model",
        )
    import jax

    from umss_jax.model import init_variables

    fresh = init_variables(jax.random.key(seed), config, tuple(missing))
    return {
        collection: {**variables.get(collection, {}), **fresh.get(collection, {})}
        for collection in ("params", "batch_stats")
    }
