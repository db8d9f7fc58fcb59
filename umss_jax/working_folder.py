"""A hidden folder beside the result, in which it is made, and which vanishes whatever happens."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import soundfile

from umss_jax.errors import OutputError


@contextlib.contextmanager
def working_folder(result: Path) -> Iterator[Path]:
    """A folder on the same disk as the result, so that what is finished only needs renaming.

    Args:
        result: File or folder that will be made; the folder it is in is made where missing.

    Raises:
        OutputError: The system refuses to write.
    """
    work: Path | None = None
    try:
        result.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".partial-", dir=result.parent))
        yield work
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OutputError(
            f"{result} cannot be written ({reason})", "free some space or choose another -o"
        ) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
