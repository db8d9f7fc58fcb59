"""PyTorch checkpoints: read with ``weights_only=True`` after a look at the archive, written plain.

PyTorch is an optional extra and is imported only inside these functions.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from umss_jax.errors import WeightsError
from weights_convert.table import Arrays, RefusedFileError, Table

_MAX_MEMBERS = 10_000


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise WeightsError(
            "PyTorch is not installed, and PyTorch checkpoints need it",
            "pip install 'umss-jax[torch]'",
        ) from error
    return torch


def check_archive(path: Path) -> None:
    """Refuse archives that are damaged or would unpack to more than they are.

    Raises:
        RefusedFileError: with all that is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise RefusedFileError([f"it has {len(members)} members"])
            problems = [
                f"{member.filename} is compressed, which PyTorch never does"
                for member in members
                if member.compress_type != zipfile.ZIP_STORED
            ]
            if sum(member.file_size for member in members) > path.stat().st_size:
                problems.append("its members are larger than itself")
            if not any(member.filename.endswith("data.pkl") for member in members):
                problems.append("it has no data.pkl, so PyTorch has not written it")
            if not problems and (damaged := archive.testzip()):
                problems.append(f"{damaged} is damaged")
    except RefusedFileError:
        raise
    except Exception as error:  # zipfile raises many types where an archive is garbled
        raise RefusedFileError([f"the archive is cut short or garbled ({error})"]) from error
    if problems:
        raise RefusedFileError(problems)


def _nothing(*_: object) -> None:
    """Stands for a NumPy number in a checkpoint: the best loss is nothing that is needed here."""


class _NoDtype:
    """Stands for the type of such a number."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_STAND_INS = [
    (_nothing, "numpy.core.multiarray.scalar"),
    (_nothing, "numpy._core.multiarray.scalar"),
    (_NoDtype, "numpy.dtype"),
]


def read(path: Path) -> tuple[Arrays, list[str]]:
    """Arrays of a state dict, or of the state dict in a training checkpoint (``.chkpnt``).

    Returns:
        Arrays by key in the file's own type, and what was left aside on purpose.

    Raises:
        RefusedFileError: with all that is wrong.
        WeightsError: PyTorch is not installed.
    """
    check_archive(path)
    torch = _torch()
    try:
        with torch.serialization.safe_globals(_STAND_INS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch raises many types; all mean that the file is refused
        reason = str(error).strip().splitlines() or [type(error).__name__]
        asked = [line.strip() for line in reason if "GLOBAL" in line or "global" in line][:1]
        raise RefusedFileError([f"PyTorch refuses it ({(asked or reason)[0]})"]) from error
    left_aside: list[str] = []
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        left_aside = sorted(str(key) for key in content if key != "state_dict")
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise RefusedFileError([f"it holds a {type(content).__name__}, no state dict"])
    problems, arrays = [], {}
    for key, value in content.items():
        if not isinstance(key, str) or type(value) not in (torch.Tensor, torch.nn.Parameter):
            problems.append(f"{str(key)[:100]} is a {type(value).__name__}, no tensor")
        elif value.layout != torch.strided or value.is_quantized:
            problems.append(f"{key} is sparse or quantised")
        elif value.numel() * value.element_size() > value.untyped_storage().nbytes():
            problems.append(f"{key} claims more numbers than it has")
        elif value.dtype == torch.bfloat16:
            problems.append(f"{key} holds bfloat16")
        else:
            arrays[key] = np.array(value.detach().numpy(), order="C")
    if problems:
        raise RefusedFileError(problems)
    return arrays, left_aside


def write(arrays: Arrays, table: Table, path: Path) -> None:
    """Write a state dict that the original module takes with ``strict=True``."""
    torch = _torch()
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    for entry in table.derived:
        state[entry.source] = torch.tensor(entry.value, dtype=torch.int64)
    torch.save(state, path)
