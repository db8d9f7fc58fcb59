"""What lies above 8 kHz: is each voice given its own? Scored against stems of full band.

Source:   none; SI-SDR over the 1 s frames of a voice that are within 30 dB of the loudest.
Command:  python -m experiments.full_band mix SOPRANO ALTO TENOR BASS -o OUT -n 8
          python -m experiments.full_band score FOLDER…
Duration: README.md beside this file.
Score:    README.md beside this file.

Every FOLDER holds soprano, alto, tenor and bass of one piece at more than 16 kHz.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from umss_jax.config import VOICES

app = typer.Typer(no_args_is_help=True, add_completion=False)
_LEAST_POWER = 1e-3


class Row(NamedTuple):
    """Of one piece, mean SI-SDR of the four voices, and every voice's error of energy."""

    cut_db: float
    """Stems that end at 8 kHz."""
    full_db: float
    """Stems of full band."""
    energy_db: np.ndarray
    """float64 [4], energy above 8 kHz against the truth."""
    error_db: np.ndarray
    """float64 [4], energy of the difference there against the truth; 0 without any."""


@app.command()
def mix(
    singers: Annotated[list[Path], typer.Argument(help="Four folders of recordings, S A T B.")],
    out: Annotated[Path, typer.Option("--out", "-o")] = Path("quartets"),
    count: Annotated[int, typer.Option("--count", "-n", help="Quartets.")] = 8,
    seconds: Annotated[float, typer.Option("--seconds")] = 8.0,
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> None:
    """Write quartets of solo singers, OUT/<number>/soprano.wav …, and print their folders."""
    import soundfile

    random = np.random.default_rng(seed)
    for number in range(count):
        folder = out / f"{number:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, singer in zip(VOICES, singers, strict=True):
            files = sorted(file for file in singer.iterdir() if file.suffix in {".ogg", ".wav"})
            pieces: list[np.ndarray] = []
            rate = soundfile.info(files[0]).samplerate
            length = round(seconds * rate)
            while sum(map(len, pieces)) < length:
                piece = soundfile.read(files[random.integers(len(files))])[0]
                pieces.append(np.roll(piece, -random.integers(len(piece)))[:length])
            voice = np.concatenate(pieces)[:length]
            level = 0.1 * 10 ** (random.uniform(-5, 5) / 20)
            voice *= level / np.sqrt(np.mean(voice**2))
            soundfile.write(folder / f"{name}.wav", voice, rate, subtype="FLOAT")
        typer.echo(folder)


@app.command()
def score(
    folders: Annotated[list[Path], typer.Argument(help="Folders of stems.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Model.")] = "starter",
    start: Annotated[float, typer.Option("--start", help="Seconds passed over.")] = 0.0,
    seconds: Annotated[float, typer.Option("--seconds", help="Of every piece.")] = 8.0,
) -> None:
    """Print SI-SDR and energies above 8 kHz, with true stems below 8 kHz and with a model's."""
    from umss_jax.api import load

    separator = load(name)
    kinds: dict[str, list[Row]] = {"true stems below 8 kHz": [], f"stems of {name}": []}
    for folder in folders:
        voices, rate = _stems(folder, start, seconds)
        for rows, row in zip(kinds.values(), _rows(separator, voices, rate), strict=True):
            rows.append(row)
    for kind, rows in kinds.items():
        energy = np.stack([row.energy_db for row in rows])
        typer.echo(
            f"{kind}: SI-SDR {np.mean([row.cut_db for row in rows]):.2f} dB cut at 8 kHz, "
            f"{np.mean([row.full_db for row in rows]):.2f} dB full; energy above 8 kHz off by "
            f"{np.abs(energy).mean():.1f} dB (S A T B {np.round(energy.mean(axis=0), 1)}), "
            f"{np.mean(np.abs(energy) < 3):.0%} within 3 dB; "
            f"error {np.mean([row.error_db for row in rows]):.1f} dB of the truth there"
        )


def _stems(folder: Path, start_s: float, seconds: float) -> tuple[np.ndarray, int]:
    import soundfile

    voices = []
    for name in VOICES:
        file = next(folder.glob(f"{name}.*"))
        rate = soundfile.info(file).samplerate
        begin, length = round(start_s * rate), round(seconds * rate)
        voice = soundfile.read(file, length, begin, dtype="float32", always_2d=True)[0].mean(axis=1)
        voices.append(voice)
    shortest = min(map(len, voices))
    return np.stack([voice[:shortest] for voice in voices]), rate


def _rows(separator, voices: np.ndarray, rate: int) -> list[Row]:  # type: ignore[no-untyped-def]
    """Of one piece with true stems below 8 kHz, and with the model's."""
    from umss_jax.api import Separator
    from umss_jax.audio.resampling import resample_whole, resampled_samples
    from umss_jax.separation.config import SeparationConfig
    from umss_jax.separation.high_band import BandSharer
    from umss_jax.separation.high_masks import Plan

    mixture = voices.sum(axis=0)
    audio = separator.engine.config.audio
    rate_16k = audio.sample_rate_hz
    short = resampled_samples(len(mixture), rate, rate_16k)
    low = resample_whole(voices, rate, rate_16k, short)
    true = resample_whole(low, rate_16k, rate, len(mixture))
    full = separator.separate(mixture, rate)
    cut = Separator(separator.engine, SeparationConfig(full_band=False)).separate(mixture, rate)
    plan = Plan(rate, 1, len(mixture), float(np.abs(mixture).max()), audio)
    shared = BandSharer(plan, full.f0_hz_synth).share_out([mixture[None]], [true])
    oracle = np.concatenate(list(shared), axis=1)
    return [_row(true, oracle, voices, rate), _row(cut.stems, full.stems, voices, rate)]


def _row(cut: np.ndarray, full: np.ndarray, voices: np.ndarray, rate: int) -> Row:
    above, found = _above_8_khz(voices, rate), _above_8_khz(full, rate)
    energy = np.square(above).sum(axis=1)
    return Row(
        _si_sdr(cut, voices, rate),
        _si_sdr(full, voices, rate),
        10 * np.log10(np.square(found).sum(axis=1) / energy),
        10 * np.log10(np.square(found - above).sum(axis=1) / energy),
    )


def _above_8_khz(sound: np.ndarray, rate: int) -> np.ndarray:
    spectrum = np.fft.rfft(sound)
    spectrum[..., np.fft.rfftfreq(sound.shape[-1], 1 / rate) < 8_000] = 0
    return np.fft.irfft(spectrum, sound.shape[-1])


def _si_sdr(stems: np.ndarray, voices: np.ndarray, rate: int) -> float:
    """Mean over the frames of 1 s in which a voice sounds."""
    frames = voices.shape[1] // rate
    stems, voices = (x[:, : frames * rate].reshape(4, frames, rate) for x in (stems, voices))
    power = np.square(voices).sum(axis=-1)
    scaled = voices * (np.sum(stems * voices, axis=-1) / (power + 1e-12))[..., None]
    error = np.square(stems - scaled).sum(axis=-1)
    ratio = 10 * np.log10((np.square(scaled).sum(axis=-1) + 1e-12) / (error + 1e-12))
    return float(np.mean(ratio[power > _LEAST_POWER * power.max()]))


if __name__ == "__main__":
    app()
