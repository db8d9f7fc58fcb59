"""What TensorBoard shows of a run: curves, and the sounds and pitches of one example."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from umss_jax.config import ModelConfig
from umss_jax.model import (
    SOURCE_FILTER,
    ModelOutput,
    Variables,
    forward,
    sample_uniform,
    voice_model,
)

log = logging.getLogger("umss_jax")

_COLOURS = np.asarray(
    [
        *([1, 0.3, 0.3], [1, 0.8, 0.2], [0.3, 0.9, 0.4], [0.4, 0.6, 1]),
        *([1, 0.5, 1], [0.4, 1, 1], [0.8, 0.8, 0.8], [0.8, 0.5, 0.2]),
    ]
)


class Board:
    """TensorBoard's files in a folder; of none, or without tensorboardX, nothing is written."""

    def __init__(self, folder: Path | None) -> None:
        self._writer: Any = None
        if folder is None:
            return
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            return
        try:
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            log.warning("%s cannot be written (%s): no TensorBoard", folder, error.strerror)
            return
        with contextlib.suppress(AttributeError):  # names of its own, which another version changes
            events = self._writer.file_writer.event_writer
            events._ev_writer = events._worker._record_writer = _Careful(events._ev_writer, folder)

    @property
    def is_on(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def scalars(self, group: str, metrics: Mapping[str, float], step: int) -> None:
        """One point of each curve."""
        if self._writer is not None:
            for name, value in metrics.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def show(
        self, variables: Variables, batch: Any, key: jax.Array, config: ModelConfig, step: int
    ) -> None:
        """What the source-filter model makes of the first example of a training batch.

        ``step`` is that of the whole run; ``key`` is that of the noise.
        """
        if not self.is_on or voice_model(variables["params"]) is not SOURCE_FILTER:
            return
        one = jax.tree.map(lambda leaf: leaf[:1], batch)
        sources = None if one.sources is None else one.sources[0]
        self.example(_output(variables, one, key, config), sources, config, step)

    def example(
        self, output: ModelOutput, sources: np.ndarray | None, config: ModelConfig, step: int
    ) -> None:
        """The first example of a batch: sounds, saliences and F0.

        ``sources`` are the true voices [J, samples], if known.
        """
        if self._writer is None:
            return
        sounds = {
            "mixture": output.mixture[0],
            "reconstruction": output.mixture_hat[0],
            **{
                f"{voice}/synthesised": output.sources[0, j]
                for j, voice in enumerate(config.voices.names)
            },
        }
        if sources is not None:
            sounds |= {f"{voice}/true": sources[j] for j, voice in enumerate(config.voices.names)}
        rate = config.audio.sample_rate_hz
        for name, sound in sounds.items():
            samples = np.asarray(sound)
            peak = max(float(np.abs(samples).max()), 1e-9)
            self._writer.add_audio(name, samples[:, None] / peak, step, sample_rate=rate)
        pictures = {"f0": f0_picture(np.asarray(output.f0_hz_synth[0]), config)}
        if output.salience is not None:
            pictures["salience"] = _grey(np.asarray(output.salience[0]))
        if output.assigned is not None:
            assigned = np.asarray(output.assigned[0])
            pictures["assigned"] = np.concatenate([_grey(one) for one in assigned], axis=1)
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is left."""
        if self._writer is not None:
            self._writer.close()


class _Careful:
    """Writes events until the disk is full, which ends TensorBoard's files and not the run.

    The thread that writes them would end with a traceback, and its queue would block the training.
    """

    def __init__(self, writer: Any, folder: Path) -> None:
        self._writer, self._folder, self._has_failed = writer, folder, False

    def write_event(self, event: Any) -> None:
        self._do(lambda: self._writer.write_event(event))

    def flush(self) -> None:
        self._do(self._writer.flush)

    def close(self) -> None:
        self._do(self._writer.close)

    def _do(self, action: Callable[[], object]) -> None:
        if self._has_failed:
            return
        try:
            action()
        except OSError as error:
            self._has_failed = True
            log.warning(
                "%s cannot be written (%s): no TensorBoard from here on",
                *(self._folder, error.strerror or error),
            )


@partial(jax.jit, static_argnames="config")
def _output(variables: Variables, batch: Any, key: jax.Array, config: ModelConfig) -> ModelOutput:
    uniform = sample_uniform(key, jnp.asarray(batch.mixture), config)
    given = {"salience": batch.salience, "f0_hz_synth": batch.f0_hz_synth}
    return forward(variables, batch.mixture, uniform, config, **given)


def f0_picture(f0_hz_synth: np.ndarray, config: ModelConfig) -> np.ndarray:
    """F0 [J, frames] of the voices in Hz on the pitch grid, one colour each; below it = unvoiced.

    Returns:
        [bins, frames, 3] in [0, 1], low pitches below.
    """
    grid = config.hcqt
    picture = np.zeros((grid.bins, f0_hz_synth.shape[-1], 3))
    for colour, track in zip(_COLOURS, f0_hz_synth, strict=False):
        voiced = np.flatnonzero(track >= grid.fmin_hz * 0.99)
        octaves = np.log2(track[voiced] / grid.fmin_hz)
        bins = np.clip(np.round(octaves * grid.bins_per_octave).astype(int), 1, grid.bins - 2)
        for offset in (-1, 0, 1):  # three bins thick, to be seen
            picture[bins + offset, voiced] = colour
    return picture[::-1]


def _grey(salience: np.ndarray) -> np.ndarray:
    """[bins, frames] in [0, 1] as a picture, low pitches below."""
    return np.repeat(salience[::-1, :, None], 3, axis=2)
