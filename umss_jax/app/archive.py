"""Files as one ZIP, made while it is sent: it takes no room on the disk and none in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_BLOCK_BYTES = 1 << 20


class _Outbox(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Keeps all of it."""
        self._kept += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last call."""
        taken, self._kept = bytes(self._kept), bytearray()
        return taken


def zipped(files: Iterable[Path], folder: str) -> Iterator[bytes]:
    """The bytes of a ZIP of files, in a folder of this name; sounds do not shrink, so as they are.

    Raises:
        OSError: a file is not there any more.
    """
    outbox = _Outbox()
    with zipfile.ZipFile(outbox, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            about = zipfile.ZipInfo.from_file(path, f"{folder}/{path.name}")
            with path.open("rb") as file, archive.open(about, "w", force_zip64=True) as member:
                while data := file.read(_BLOCK_BYTES):
                    member.write(data)
                    yield outbox.take()
            yield outbox.take()
    yield outbox.take()
