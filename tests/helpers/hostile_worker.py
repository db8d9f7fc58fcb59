"""Reads hostile files one after the other in a process of its own, with little memory and time.

As a program it takes the name of a reader and the memory in MB; each line of its input is a path,
each line of its output what became of it: ``ok <what was read>``, ``refused <the line>`` or
``broken <the traceback's last line>``.
"""

import contextlib
import hashlib
import os
import queue
import resource
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np

LIMIT_MB = 256
LIMIT_S = 20.0
NEW_LINE = "\u23ce"
"""Stands for the end of a line in an answer, which is a line itself."""


def read_audio(path):
    from umss_jax.audio.recording import scan
    from umss_jax.audio.resampling import read_16k
    from umss_jax.config import AudioConfig

    recording = scan(path)
    sound = read_16k(recording, AudioConfig())
    count = 0
    for block in sound.blocks:
        assert np.isfinite(block).all()
        count += block.shape[1]
    assert count == sound.samples
    return f"{recording.sample_rate_hz} {recording.channels} {recording.samples}"


def read_weights(path):
    from weights_convert import import_file

    return _digest(import_file(path).variables)


def read_stored(path):
    from umss_jax.weights import store

    return _digest(store.load(path).variables)


def read_metadata(path):
    from umss_jax.weights import store

    return str(len(store.read_metadata(path)))


def _digest(variables):
    from umss_jax.files import arrays_sha256
    from umss_jax.trees import flatten

    return arrays_sha256(flatten(variables))


READERS = {
    "audio": read_audio,
    "weights": read_weights,
    "stored": read_stored,
    "metadata": read_metadata,
}


def _main(reader, limit_mb):
    from umss_jax.errors import UmssError

    sys.setswitchinterval(1.0)
    if reader == "audio":
        import umss_jax.audio.resampling
    else:
        # What readers import counts as memory that was there before.
        import h5py

        import umss_jax.weights.recognise
        import umss_jax.weights.store
        import weights_convert
        from umss_jax.config import ModelConfig

        umss_jax.weights.recognise.expected_shapes(ModelConfig(), ("salience",))
        assert h5py is not weights_convert
        with contextlib.suppress(ImportError):
            import torch  # noqa: F401
    print("ready", flush=True)
    for line in sys.stdin:
        path = line.rstrip("\n")
        data_kb = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0])
        allowed = (data_kb << 10) + (limit_mb << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, resource.RLIM_INFINITY))
        try:
            answer = f"ok {READERS[reader](path)}"
        except UmssError as error:
            answer = f"refused {error}"
        except BaseException as error:
            answer = f"broken {type(error).__name__}: {error}"
        print(answer.replace("\n", NEW_LINE), flush=True)


class Reader:
    """Asks a worker, which is started anew after it has died or hung."""

    def __init__(self, reader: str, limit_mb: int = LIMIT_MB, limit_s: float = LIMIT_S) -> None:
        self._command = [sys.executable, __file__, reader, str(limit_mb)]
        self._limit_s = limit_s
        self._worker: subprocess.Popen | None = None
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, path: Path) -> str:
        """What became of a file; ``died …`` and ``hung …`` beside what the worker says."""
        if self._worker is None:
            self._start()
        self._worker.stdin.write(f"{path}\n")
        self._worker.stdin.flush()
        answer = self._next(self._limit_s)
        self.counts[answer.split(" ", 1)[0]] += 1
        return answer

    def _start(self) -> None:
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        self._worker = subprocess.Popen(
            self._command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_pass_on, args=(self._worker.stdout, self._lines)).start()
        assert self._next(120.0) == "ready"

    def _next(self, limit_s: float) -> str:
        try:
            line = self._lines.get(timeout=limit_s)
        except queue.Empty:
            self._end()
            return f"hung for {limit_s:g} s"
        if line:
            return line.rstrip("\n")
        status = self._worker.wait()
        self._end()
        return f"died with status {status}"

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()
            self._worker.stdin.close()
        self._worker = None


def _pass_on(stream, lines) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put("")


def is_fine(answer: str) -> bool:
    """Read, or refused in one line."""
    return answer.startswith(("ok ", "refused ")) and NEW_LINE not in answer


def seed_of(*names: object) -> int:
    """A seed from names, the same on every machine."""
    return int(hashlib.sha256(" ".join(map(str, names)).encode()).hexdigest()[:8], 16)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
