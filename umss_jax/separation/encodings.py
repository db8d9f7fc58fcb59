"""How sounds are written: which formats there are, and what each of them cannot hold."""

from __future__ import annotations

from typing import NamedTuple

from umss_jax.audio.recording import Recording
from umss_jax.errors import AudioError, UsageError
from umss_jax.separation.config import SoundFormat


class Encoding(NamedTuple):
    """How sounds are written."""

    extension: str
    container: str
    subtype: str
    full_scale: int
    """Integer that stands for 1; 0 for floating point and for what is not kept bit by bit."""
    is_lossy: bool = False
    """Players cut what passes full scale, although the file holds no integers."""
    highest_rate_hz: int | None = None
    rates_hz: tuple[int, ...] = ()
    """Where no other will do."""
    most_channels: int | None = None


WAV_24 = Encoding("wav", "WAV", "PCM_24", 1 << 23)
WAV_FLOAT = Encoding("wav", "WAV", "FLOAT", 0)
FLAC_24 = Encoding("flac", "FLAC", "PCM_24", 1 << 23, highest_rate_hz=655_350, most_channels=8)
OGG = Encoding("ogg", "OGG", "VORBIS", 0, True, highest_rate_hz=200_000, most_channels=255)
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MP3 = Encoding("mp3", "MP3", "MPEG_LAYER_III", 0, True, rates_hz=_MP3_RATES, most_channels=2)
_OF_FORMAT = {
    SoundFormat.WAV: WAV_24,
    SoundFormat.FLAC: FLAC_24,
    SoundFormat.OGG: OGG,
    SoundFormat.MP3: MP3,
}


def choose_encoding(flac: bool, float32: bool, sound_format: str | None = None) -> Encoding:
    """WAV of 24 bits unless asked otherwise.

    Raises:
        UsageError: two formats together, floating point in one that cannot hold it, or a format
            that there is not.
    """
    if flac and float32:
        raise UsageError("--flac and --float32 exclude each other", "choose one of them")
    if sound_format is not None and sound_format not in list(SoundFormat):
        raise UsageError(
            f"no format is called {sound_format!r}", f"choose from {', '.join(SoundFormat)}"
        )
    if flac and sound_format not in (None, SoundFormat.FLAC):
        raise UsageError(
            f"--flac and --format {sound_format} exclude each other", "choose one of them"
        )
    if float32 and sound_format not in (None, SoundFormat.WAV):
        raise UsageError(f"--float32 is not for --format {sound_format}", "leave one of them out")
    if float32:
        return WAV_FLOAT
    return _OF_FORMAT[SoundFormat.FLAC if flac else SoundFormat(sound_format or SoundFormat.WAV)]


def check_encoding(encoding: Encoding, recording: Recording) -> None:
    """Refuses before the work what could not be written after it.

    Libraries are not asked: some of them crash where they should refuse.

    Raises:
        AudioError: the format cannot hold this rate or number of channels.
    """
    rate, channels = recording.sample_rate_hz, recording.channels
    if (
        (encoding.most_channels is not None and channels > encoding.most_channels)
        or (encoding.highest_rate_hz is not None and rate > encoding.highest_rate_hz)
        or (encoding.rates_hz and rate not in encoding.rates_hz)
    ):
        raise AudioError(
            f"{recording.path}: {encoding.container} cannot hold {channels} channels at {rate} Hz",
            "write WAV instead",
        )
