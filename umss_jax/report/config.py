"""Settings of the pages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportConfig:
    """The page about a separation or an evaluation."""

    lossless_megabytes: float = 20.0
    """Audio of a page up to this size is FLAC, beyond it MP3."""
    most_megabytes: float = 100.0
    """A page that would be larger is refused: browsers keep all of its audio in memory."""
    mp3_compression: float = 0.4
    """0 best to 1 smallest; about 2 bits a sample."""
    columns: int = 1400
    """Maximum number of columns of a picture."""
    spectrogram_rows: int = 144
    window_s: float = 0.064
    range_db: float = 70.0
    visible_part: float = 0.85
    """Part of the range below the loudest point that the eye tells from the ground."""
    least_drawn: float = 0.005
    """Share of a spectrogram that must be visible: of a sound with less the page says so."""
    lowest_hz: float = 60.0
    highest_hz: float = 12_000.0
    shades: int = 48
    margin_octaves: float = 0.25
    """Shown below the lowest and above the highest pitch."""
    most_points: int = 12_000
    """Of a pitch curve."""
    excerpts: int = 2
    """Of an evaluation, whose audio is kept for its page unless told otherwise."""
    length_tolerance_s: float = 0.5
    """By which targets and salience may be longer or shorter than the stems."""
