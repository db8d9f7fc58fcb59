"""Settings of the page on this computer."""

from __future__ import annotations

from dataclasses import dataclass

from umss_jax.errors import UsageError, brief
from umss_jax.range_checks import check_numbers


@dataclass(frozen=True)
class AppConfig:
    """Where the page is, and how much it takes.

    Raises:
        UsageError: what is no number or outside its range, or no host is named.
    """

    host: str = "127.0.0.1"
    """Address that is listened at: by default reached from this computer alone."""
    port: int = 8337
    """0: any that is free."""
    upload_megabytes: float = 2_000.0
    """Of a recording with its score; one that is larger is refused."""
    spare_megabytes: float = 500.0
    """Of the disk that uploads leave free, for results."""
    page_s: float = 240.0
    """Longest part of a recording on one listening page: browsers hold all its sounds in memory."""
    beat_s: float = 0.25
    """Between looks for news, of which open pages are told."""
    drain_s: float = 10.0
    """For how long a refused upload is read on, since browsers show no answer before its end."""

    def __post_init__(self) -> None:
        check_numbers(self)
        if not isinstance(self.host, str) or not self.host:
            raise UsageError(f"--host is {brief(self.host)}", "name an address, such as 127.0.0.1")
