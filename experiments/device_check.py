"""One short stretch on an accelerator: what is right there, how fast it is, and what fits.

    python -m experiments.device_check --make-reference reference.npz    # anywhere, on a CPU
    python -m experiments.device_check --reference reference.npz         # on the device

The machine needs a checkout, and JAX, Flax, Optax and Orbax; nothing is installed and nothing of
umss-jax is needed besides. Every case runs in a process of its own with a time limit; its row is
written to ``device_check.jsonl`` as soon as it ends, whether it succeeded, failed or was cut, so
that whatever ends the stretch leaves what was measured. ``device_check.json`` holds all rows of a
finished run. Programs are compiled first, in several processes at once, and kept for the cases.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GRAPHS = "--xla_gpu_enable_command_buffer=+WHILE --xla_gpu_command_buffer_unroll_loops=true"
"""Puts loops into graphs, so that one launch does for many kernels."""
_ENDING_S = 5.0  # that are kept to write the last rows


class Case(NamedTuple):
    """One row."""

    name: str
    limit_s: float
    """For measuring; compiling beforehand may take twice as long."""
    flags: str = ""
    """For XLA."""
    is_compiled_first: bool = True


CASES = (
    # In the order of their worth: where time runs out, the last ones are missing.
    Case("ceilings", 60),
    Case("parity", 120),
    Case("step umss 15", 60),
    Case("step umss 60", 60),
    Case("step umss 15 graphs", 60, GRAPHS),
    Case("step sf_sf 15", 60),
    Case("step sf_sf 15 tf32", 60),
    Case("step sf_sft 15", 60),
    Case("step sft_sft 15", 90),
    Case("run killed", 90),
    Case("real f0 uncached", 90),
    Case("real f0 cached", 90),
    Case("separation", 60),
    Case("largest umss", 90, is_compiled_first=False),
    Case("largest sf_sf", 90, is_compiled_first=False),
    Case("largest sf_sft", 90, is_compiled_first=False),
    Case("largest sft_sft", 90, is_compiled_first=False),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every case succeeded, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try it on a CPU")
    parser.add_argument("--make-reference", metavar="NPZ", help="write the values of this CPU")
    parser.add_argument("--reference", metavar="NPZ", help="else they are computed on the CPU")
    parser.add_argument("--out", default="device_check", help="folder of the rows")
    parser.add_argument("--budget", type=float, default=460.0, help="seconds for everything")
    parser.add_argument("--only", nargs="*", metavar="CASE", help=", ".join(c.name for c in CASES))
    parser.add_argument("--compilers", type=int, default=0, help="processes; 0: by the cores")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--compile-only", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.make_reference:
        from experiments.device_cases import make_reference

        make_reference(Path(given.make_reference), given.small)
        return 0
    if given.case:
        return _here(given)
    unknown = set(given.only or ()) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no case is called {', '.join(sorted(unknown))}")
    return check_device(given)


def check_device(given: argparse.Namespace) -> int:
    """Runs the cases; see :func:`main`."""
    until = time.monotonic() + given.budget
    out = Path(given.out)
    (out / "kept").mkdir(parents=True, exist_ok=True)
    cases = [case for case in CASES if not given.only or case.name in given.only]
    rows: list[dict[str, Any]] = []

    def tell(row: dict[str, Any]) -> None:
        rows.append(row)
        with open(out / "device_check.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(f"{row['case']}: {row['status']} after {row['wall_s']:.1f} s", flush=True)

    compilers = given.compilers or max(1, min(8, (os.cpu_count() or 2) // 2))
    first = [case for case in cases if case.is_compiled_first]
    with ThreadPoolExecutor(compilers) as pool:
        # Half the time at most: what is not compiled by then is compiled where it is measured.
        latest = time.monotonic() + 0.5 * given.budget
        for row in pool.map(lambda case: _apart(case, given, latest, True), first):
            tell(row)
    for case in cases:
        tell(_apart(case, given, until - _ENDING_S, False))
    (out / "device_check.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    measured = [row for row in rows if row["stage"] == "measure"]
    return 0 if all(row["status"] == "ok" for row in measured) else 1


def _apart(
    case: Case, given: argparse.Namespace, until: float, compiles_only: bool
) -> dict[str, Any]:
    """The row of a case that runs in a process of its own until a time."""
    row = {"case": case.name, "stage": "compile" if compiles_only else "measure"}
    started = time.monotonic()
    patience = (2 if compiles_only else 1) * (3 if given.small else 1)  # a CPU takes its time
    limit_s = min(case.limit_s * patience, until - started)
    if limit_s <= 0:
        return {**row, "status": "skipped", "wall_s": 0.0, "error": "no time was left"}
    command = [sys.executable, "-m", "experiments.device_check", "--case", case.name]
    command += ["--out", given.out, *(["--small"] * given.small)]
    command += ["--compile-only"] * compiles_only
    command += ["--reference", given.reference] if given.reference else []
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=_environment(case, given, compiles_only),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that what it starts ends with it
    )
    try:
        printed, said = process.communicate(timeout=limit_s)
        status = "ok" if process.returncode == 0 else "failed"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, said = process.communicate()
        status = "timeout"
    row |= {"status": status, "wall_s": time.monotonic() - started}
    row |= _last_object(printed)
    if status != "ok":
        row["error"] = row.get("error") or said[-2000:]
    return row


def _environment(case: Case, given: argparse.Namespace, compiles_only: bool) -> dict[str, str]:
    kept = Path(given.out).resolve() / "kept"
    # Small networks take much longer to compile than to run.
    hasty = "--xla_backend_optimization_level=0" if given.small else ""
    found = {
        **os.environ,
        "UMSS_JAX_HOME": str(kept),
        "JAX_COMPILATION_CACHE_DIR": str(kept / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {hasty} {case.flags}".strip(),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    if compiles_only:  # several share the device
        found["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return found


def _last_object(printed: str) -> dict[str, Any]:
    """What a case printed last, of what it found out before it ended."""
    for line in reversed(printed.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def _here(given: argparse.Namespace) -> int:
    """One case in this process; prints what it found as JSON."""
    from experiments.device_cases import run_case
    from experiments.device_setting import Setting

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    reference = Path(given.reference) if given.reference else None
    setting = Setting(given.small, Path(given.out), reference, given.compile_only)
    for found in run_case(given.case, setting):
        print(json.dumps({**found, "host": platform.node()}), flush=True)
    return 0


def _end_with(parent: int) -> None:
    """Ends this process, and what it started, once the one that started it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
