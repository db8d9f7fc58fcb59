"""PyTorch checkpoints: read with ``weights_only=True`` after a look at the archive, written plain.

PyTorch is an optional extra and is imported only inside these functions.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from umss_jax.errors import WeightsError
from umss_jax.files import regular_bytes
from umss_jax.trees import MAX_BYTES
from weights_convert.limits import check_total
from weights_convert.table import Arrays, RefusedFileError, Table
from weights_convert.torch_program import MAX_PROGRAM_BYTES, check_program

_MAX_MEMBERS = 10_000
_MAX_DIRECTORY_BYTES = 4 << 20
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"


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
        size = regular_bytes(path, MAX_BYTES)
        _check_directory(path, size)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise RefusedFileError([f"it has {len(members)} members"])
            problems = [
                f"{member.filename[:100]} is compressed, which PyTorch never does"
                for member in members
                if member.compress_type != zipfile.ZIP_STORED
            ]
            if sum(member.file_size for member in members) > size:
                problems.append("its members are larger than itself")
            if len({member.filename for member in members}) < len(members):
                problems.append("two of its members have one name")
            programs = [member for member in members if member.filename.endswith("data.pkl")]
            if len(programs) != 1:
                problems.append("it has no data.pkl, so PyTorch has not written it")
            if not problems and (damaged := archive.testzip()):
                problems.append(f"{damaged[:100]} is damaged")
            if not problems:
                with archive.open(programs[0]) as program:
                    check_program(program.read(MAX_PROGRAM_BYTES + 1))
    except RefusedFileError:
        raise
    except Exception as error:  # zipfile raises many types where an archive is garbled
        reason = str(error)[:300]
        raise RefusedFileError([f"the archive is cut short or garbled ({reason})"]) from error
    if problems:
        raise RefusedFileError(problems)


def _check_directory(path: Path, size: int) -> None:
    """Refuses an archive whose list of members alone would fill the memory."""
    with open(path, "rb") as file:
        file.seek(max(0, size - (1 << 16) - 128))
        tail = file.read()
    for mark, place, width in ((_END, 12, 4), (_END_64, 40, 8)):
        at = tail.rfind(mark)
        stated = int.from_bytes(tail[at + place : at + place + width], "little") if at >= 0 else 0
        refers = width == 4 and stated == 0xFFFF_FFFF  # to the other
        if stated > _MAX_DIRECTORY_BYTES and not refers:
            raise RefusedFileError(["its list of members is too long"])


def _nothing(*_: object) -> None:
    """Stands for a NumPy number in a checkpoint: the best loss is nothing that is needed here."""


class _NoDtype:
    """Stands for the type of such a number."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_DTYPES = frozenset(
    ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
)
"""Types that NumPy has too; which of them a table takes, it says itself."""

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
        raise RefusedFileError([f"PyTorch refuses it ({(asked or reason)[0][:300]})"]) from error
    left_aside: list[str] = []
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        left_aside = sorted(str(key)[:100] for key in content if key != "state_dict")
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise RefusedFileError([f"it holds a {type(content).__name__}, no state dict"])
    problems = [
        f"{str(key)[:100]} {problem}"
        for key, value in content.items()
        if (problem := _tensor_problem(torch, key, value))
    ]
    if problems:
        raise RefusedFileError(problems)
    total = sum(value.numel() * value.element_size() for value in content.values())
    check_total(len(content), total, path.stat().st_size)
    arrays = {key: np.array(value.detach().numpy(), order="C") for key, value in content.items()}
    return arrays, left_aside


def _tensor_problem(torch: Any, key: object, value: Any) -> str:
    """Why an entry is no plain array of a type that NumPy has; nothing where it is one."""
    if not isinstance(key, str) or type(value) not in (torch.Tensor, torch.nn.Parameter):
        return f"is a {type(value).__name__}, no tensor"
    if value.layout != torch.strided or value.is_quantized:
        return "is sparse or quantised"
    if value.device.type != "cpu":
        return f"has no numbers (device {value.device})"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return "claims more numbers than it has"
    if str(value.dtype).removeprefix("torch.") not in _DTYPES:
        return f"holds {str(value.dtype).removeprefix('torch.')}"
    return ""


def write(arrays: Arrays, table: Table, path: Path) -> None:
    """Write a state dict that the original module takes with ``strict=True``."""
    torch = _torch()
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    for entry in table.derived:
        state[entry.source] = torch.tensor(entry.value, dtype=torch.int64)
    torch.save(state, path)
