"""Damaged files of FFmpeg's formats, with little memory and time: read, or refused in one line."""

import numpy as np
import pytest
from hostile_worker import LIMIT_MB, Reader, is_fine, seed_of
from media_files import KINDS, encode, make, song
from mutations import mutate


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    return {name: make(folder, name, 0.4).read_bytes() for name in KINDS}


@pytest.mark.parametrize("cases", [8, pytest.param(600, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused(tmp_path, valid, cases):
    faults = []
    with Reader("audio") as reader:
        for number, (kind, content) in enumerate(valid.items()):
            rng = np.random.default_rng(seed_of("media", kind))
            other = list(valid.values())[number - 1]
            for case in range(cases):
                path = tmp_path / "a.m4a"
                path.write_bytes(mutate(content, rng, other))
                answer = reader.ask(path)
                if not is_fine(answer):
                    faults.append(f"{kind} case {case}: {answer}")
        print(dict(reader.counts))
        assert not faults
        assert reader.counts["refused"] > 0.2 * cases * len(valid)
        assert reader.counts["ok"] > 0


@pytest.mark.parametrize("kind", ["m4a", "webm", "wma", "caf alac", "avi", "ts", "flv"])
def test_files_cut_in_every_structure(tmp_path, valid, kind):
    content = valid[kind]
    with Reader("audio") as reader:
        for length in (*range(1, 200, 11), *range(200, len(content), 1499)):
            path = tmp_path / f"{length}.bin"
            path.write_bytes(content[:length])
            answer = reader.ask(path)
            assert is_fine(answer), (length, answer)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    """Forty minutes, of which the samples alone would be more than a worker may hold."""
    minutes, kind = 40, KINDS["mka flac"]
    path = encode(tmp_path / "long.mka", [np.tile(song(10.0, 1), 6 * minutes)], kind)
    samples = 60 * minutes * kind.rate
    assert 4 * samples > LIMIT_MB << 20
    with Reader("audio", limit_s=300.0) as reader:
        assert reader.ask(path) == f"ok {kind.rate} 1 {samples}"
