"""Bring published weight files into the cache: pinned commit, checked hash, all or nothing.

Everything is downloaded or copied into a hidden folder first and moved only when every file of the
set is whole and has its hash, so whatever goes wrong leaves the cache as it was and the next call
begins anew; files that already lie there with the right hash are not brought again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path

from umss_jax.aside import hidden_folder
from umss_jax.errors import OutputError, UnknownModelError, WeightsError
from umss_jax.files import home, regular_bytes
from umss_jax.interruption import checked
from umss_jax.trees import MAX_BYTES
from umss_jax.weights.remote_files import SOURCES, RemoteFile

GITHUB = "https://raw.githubusercontent.com"
TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18


def folder_of(name: str) -> Path:
    """Where the files of a name lie in the cache."""
    return home() / "downloads" / name


def import_path(name: str) -> Path:
    """What to import after fetching: the one file, or the folder of several."""
    files = _files(name)
    return folder_of(name) / files[0].place if len(files) == 1 else folder_of(name)


def fetch(name: str, source: str | None = None, progress: bool = True) -> Path:
    """Bring the files of a name into the cache.

    Args:
        name: of `SOURCES`.
        source: address of a mirror laid out as raw.githubusercontent.com
            (``<source>/<owner>/<repository>/<commit>/<path>``), or a folder that holds the files,
            by their path in the repository, by their place in the cache or by their bare name.
        progress: whether bars are shown on stderr.

    Returns:
        What `weights_convert.import_file` takes, see `import_path`.

    Raises:
        UnknownModelError: nothing has this name.
        WeightsError: a file cannot be had, or has another hash; says where to put it by hand.
        OutputError: the cache cannot be written.
    """
    files = _files(name)
    folder = folder_of(name)
    missing = [file for file in files if not _has_hash(folder / file.place, file)]
    if not missing:
        return import_path(name)
    places = [folder / file.place for file in missing]
    folders = {home(), folder.parent, folder, *(place.parent for place in places)}
    created = sorted((path for path in folders if not path.exists()), reverse=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with hidden_folder(folder.parent) as staging:
            for file in checked(missing):
                target = staging / file.place
                target.parent.mkdir(parents=True, exist_ok=True)
                _bring(file, target, source, progress, folder / file.place)
            _move_in([staging / file.place for file in missing], places)
    except OSError as error:
        reason = "no room is left" if error.errno == errno.ENOSPC else error.strerror or error
        raise OutputError(
            f"{folder} cannot be written ({reason})",
            "make room or point UMSS_JAX_HOME at another folder; the cache is as it was",
        ) from error
    finally:
        for path in created:  # those that stayed empty, innermost first
            with contextlib.suppress(OSError):
                path.rmdir()
    return import_path(name)


def _move_in(files: list[Path], places: list[Path]) -> None:
    """Move all files to their places, or, where one move fails, take back those before it."""
    moved: list[tuple[Path, Path]] = []
    try:
        for file, place in zip(files, places, strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            before = file.with_name(f"{file.name}.before")
            if place.exists():
                os.replace(place, before)
            moved.append((place, before))
            os.replace(file, place)
    except OSError:
        for place, before in reversed(moved):
            with contextlib.suppress(OSError):
                if before.exists():
                    before.replace(place)
                else:
                    place.unlink()
        raise


def _files(name: str) -> tuple[RemoteFile, ...]:
    if name not in SOURCES:
        raise UnknownModelError(
            f"nothing called {name!r} can be fetched", f"choose one of {', '.join(SOURCES)}"
        )
    return SOURCES[name]


def _has_hash(path: Path, file: RemoteFile) -> bool:
    try:
        regular_bytes(path, MAX_BYTES)
        content = path.read_bytes()
    except (OSError, ValueError):
        return False
    if file.sha256:
        return hashlib.sha256(content).hexdigest() == file.sha256
    # The object id of git: no secret depends on it, it ties the file to the pinned commit.
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == file.git_object


def _bring(file: RemoteFile, target: Path, source: str | None, progress: bool, place: Path) -> None:
    """One file into the staging folder, checked."""
    by_hand = f"put the file with {file.pin} at {place}, then fetch again"
    if source is not None and "://" not in source:
        found = _in_folder(file, Path(source).expanduser())
        if found is None:
            raise WeightsError(f"{source} holds no {file.path}", by_hand)
        try:
            regular_bytes(found, MAX_BYTES)
        except ValueError as error:
            raise WeightsError(f"{found} is no weight file ({error})", by_hand) from error
        shutil.copyfile(found, target)
        origin = str(found)
    else:
        origin = file.url(source or GITHUB)
        _download(origin, target, progress, by_hand)
    if not _has_hash(target, file):
        raise WeightsError(f"{origin} is not the published file, its hash is another", by_hand)


def _in_folder(file: RemoteFile, folder: Path) -> Path | None:
    for place in (file.path, file.place, Path(file.place).name):
        if (folder / place).is_file():
            return folder / place
    return None


def _download(url: str, target: Path, progress: bool, by_hand: str) -> None:
    import requests
    from tqdm import tqdm

    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer, open(target, "wb") as out:
            answer.raise_for_status()
            total = int(answer.headers.get("content-length") or 0) or None
            shown = {"unit": "B", "unit_scale": True, "desc": target.name, "leave": False}
            with tqdm(total=total, disable=not progress, **shown) as bar:
                for chunk in checked(answer.iter_content(_CHUNK_BYTES)):
                    out.write(chunk)
                    bar.update(len(chunk))
                    if out.tell() > MAX_BYTES:
                        raise WeightsError(f"{url} sends more than any weight file", by_hand)
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "with an error"
        raise WeightsError(f"{url} answers {status}", by_hand) from error
    except requests.RequestException as error:
        raise WeightsError(f"{url} cannot be had ({type(error).__name__})", by_hand) from error
