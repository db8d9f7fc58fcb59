"""What TensorBoard gets, read back from its files."""

import struct

import numpy as np
import pytest

from umss_jax.config import VOICES, ModelConfig
from umss_jax.model import ModelOutput
from umss_jax.train.tensorboard import Board, f0_picture

CONFIG = ModelConfig()


def tags(folder):
    """Tag and step of every value in the event files.

    Records are length, checksum, data, checksum.
    """
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for path in sorted(folder.iterdir()):
        content, position = path.read_bytes(), 0
        while position < len(content):
            (length,) = struct.unpack_from("<Q", content, position)
            event = event_pb2.Event.FromString(content[position + 12 : position + 12 + length])
            found |= {value.tag: (event.step, value) for value in event.summary.value}
            position += length + 16
    return found


def output(with_salience):
    rng = np.random.default_rng(0)
    nothing = dict.fromkeys(ModelOutput._fields)
    wave = rng.uniform(-1, 1, (2, 4, 1024)).astype(np.float32)
    salience = rng.uniform(0, 1, (2, 4, 360, 20)).astype(np.float32)
    return ModelOutput(
        **{
            **nothing,
            "mixture": wave[:, 0],
            "mixture_hat": wave[:, 1],
            "sources": wave,
            "f0_hz_synth": np.full((2, 4, 10), 220.0, np.float32),
            "salience": salience[:, 0] if with_salience else None,
            "assigned": salience if with_salience else None,
        }
    )


def test_curves_sounds_and_pictures(tmp_path):
    board = Board(tmp_path)
    board.scalars("train", {"rec": 2.5}, 7)
    board.example(output(True), np.zeros((4, 1024), np.float32), CONFIG, 9)
    board.close()
    found = tags(tmp_path)
    step, value = found["train/rec"]
    assert (step, value.simple_value) == (7, 2.5)
    sounds = {"mixture", "reconstruction"}
    sounds |= {f"{voice}/{kind}" for voice in VOICES for kind in ("synthesised", "true")}
    assert {tag for tag, (_, value) in found.items() if value.HasField("audio")} == sounds
    pictures = {tag: value for tag, (_, value) in found.items() if value.HasField("image")}
    assert set(pictures) == {"f0", "salience", "assigned"}
    assert (pictures["assigned"].image.height, pictures["assigned"].image.width) == (360, 80)
    assert found["mixture"][1].audio.sample_rate == 16_000


def test_without_salience_and_stems_there_is_less(tmp_path):
    board = Board(tmp_path)
    board.example(output(False), None, CONFIG, 0)
    board.close()
    assert {"f0", "mixture"} < set(tags(tmp_path))
    assert not {"salience", "assigned", "alto/true"} & set(tags(tmp_path))


def test_a_board_without_folder_is_off():
    board = Board(None)
    board.scalars("train", {"rec": 2.5}, 7)
    board.example(output(False), None, CONFIG, 0)
    board.close()
    assert not board.is_on


def test_picture_of_f0():
    f0_hz = np.zeros((4, 5), np.float32)
    f0_hz[1, 2] = CONFIG.hcqt.fmin_hz * 2  # bin 60
    picture = f0_picture(f0_hz, CONFIG)
    lit = np.argwhere(picture.any(axis=-1))
    np.testing.assert_array_equal(lit, [[360 - 1 - row, 2] for row in (61, 60, 59)])
    # All of one colour, which is not that of another voice.
    f0_hz[[1, 2]] = f0_hz[[2, 1]]
    other = f0_picture(f0_hz, CONFIG)
    assert not np.allclose(other[299, 2], picture[299, 2])


@pytest.mark.parametrize("call", ["__init__", "write_event", "flush"])
def test_a_full_disk_ends_the_board_and_not_the_run(tmp_path, monkeypatch, caplog, call):
    """More points than its queue holds: nobody waits for a thread that has ended."""

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    event_file_writer = pytest.importorskip("tensorboardX.event_file_writer")
    board = None if call == "__init__" else Board(tmp_path)
    monkeypatch.setattr(event_file_writer.EventsWriter, call, full)
    board = board or Board(tmp_path)
    for step in range(200):
        board.scalars("train", {"total": 1.0}, step)
    board.close()
    (record,) = caplog.records
    assert f"{tmp_path} cannot be written (No space left on device)" in record.getMessage()
