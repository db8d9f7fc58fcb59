"""Scores of separated stems against the true voices, for the page about a separation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from umss_jax.evaluate import metrics
from umss_jax.evaluate.config import EvaluationConfig
from umss_jax.evaluate.statistics import Summary, summarise

MEASURES = {
    "si_sdr_db": "SI-SDR (dB)",
    "spectral_snr_db": "SNR, spectra (dB)",
    "spectral_si_snr_db": "SI-SNR, spectra (dB)",
    "mel_cepstral_distance": "Mel-cepstral distance",
    "sdr_db": "SDR (dB)",
    "sir_db": "SIR (dB)",
    "sar_db": "SAR (dB)",
    "overall_accuracy": "Overall accuracy",
    "raw_pitch_accuracy": "Raw pitch accuracy",
    "raw_chroma_accuracy": "Raw chroma accuracy",
    "voicing_recall": "Voicing recall",
    "voicing_false_alarm": "Voicing false alarm",
    "precision": "Precision",
    "recall": "Recall",
    "accuracy": "Accuracy",
    "f_measure": "F-measure",
}
"""Names of the columns; what is not here goes by its own name."""

_HIGHER = "The higher the better."
MEANINGS = {
    "si_sdr_db": "How much stronger the true voice is in its stem than all else, in "
    f"decibels. 0 dB: as strong; 10 dB: ten times the power. {_HIGHER}",
    "spectral_snr_db": "The same of the loudness of each pitch at each moment, whatever the phase; "
    f"a wrong level counts as an error. {_HIGHER}",
    "spectral_si_snr_db": f"The same as SNR of spectra, but at the level that fits best. {_HIGHER}",
    "mel_cepstral_distance": "How far the colour of the sound is from the true voice's. The lower "
    "the better.",
    "sdr_db": f"As SI-SDR, but a filtered true voice counts as true (BSS-eval). {_HIGHER}",
    "sir_db": f"How much stronger the voice is than the other voices in its stem. {_HIGHER}",
    "sar_db": f"How much stronger the voice is than what is in none of the true voices. {_HIGHER}",
    "overall_accuracy": "Share of moments with the right pitch, or rightly silent. 1 is all.",
    "raw_pitch_accuracy": "Of the moments that are sung, the share whose pitch is right within a "
    "quarter tone.",
    "raw_chroma_accuracy": "The same, where a wrong octave counts as right.",
    "voicing_recall": "Of the moments that are sung, the share that was found to be sung.",
    "voicing_false_alarm": "Of the silent moments, the share that was found to be sung. The lower "
    "the better.",
    "precision": "Of the pitches that were found, the share that is sung.",
    "recall": "Of the pitches that are sung, the share that was found.",
    "accuracy": "Right pitches as a share of all that were found or sung.",
    "f_measure": "Precision and recall in one number (their harmonic mean).",
}
"""What the numbers of the columns mean, for who has not met them."""


class Word(NamedTuple):
    """A term of the page, explained."""

    term: str
    meaning: str


def words_of(measures: Iterable[str]) -> list[Word]:
    """What these measures mean, as far as they are known."""
    return [Word(MEASURES[key], MEANINGS[key]) for key in measures if key in MEANINGS]


class VoiceScores(NamedTuple):
    """One line of the table."""

    label: str
    stems: dict[str, Summary]
    mixture_si_sdr_db: float
    seconds: int
    """That count by the energy rule."""


def score_voices(
    labels: list[str],
    targets_16k: np.ndarray,
    stems_16k: np.ndarray,
    mixture_16k: np.ndarray,
    config: EvaluationConfig = EvaluationConfig(),
) -> list[VoiceScores]:
    """Scores per voice and of all together, over the seconds that count.

    Targets ``[J, S]`` are at the level that they have in the mixture ``[S]``; they and the stems
    ``[J, S]`` are scaled so that its peak is 1, as the protocol wants it. What is left of the last
    second is not scored.
    """
    frame = config.frame_samples
    samples = mixture_16k.size // frame * frame
    scale = 1.0 / max(float(np.abs(mixture_16k).max()), 1e-9)
    target, stems, mixture = (
        scale * x[..., :samples] for x in (targets_16k, stems_16k, mixture_16k)
    )
    kept = metrics.frame_energy(target, config) >= config.minimum_energy
    scores = metrics.separation_scores(target, stems, config)._asdict()
    before = metrics.separation_scores(target, np.broadcast_to(mixture, target.shape), config)

    def line(label: str, voices: slice) -> VoiceScores:
        summaries = {
            name: summarise(values[voices], kept[voices], config=config)
            for name, values in scores.items()
        }
        unprocessed = summarise(before.si_sdr_db[voices], kept[voices], config=config)
        return VoiceScores(label, summaries, unprocessed.mean, int(kept[voices].sum()))

    lines = [line(label, slice(voice, voice + 1)) for voice, label in enumerate(labels)]
    return [*lines, line("all voices", slice(None))] if len(labels) > 1 else lines
