"""Audio files that were made, or damaged, to take the machine: read, or refused in one line."""

import os
import socket
import struct

import numpy as np
import pytest
import soundfile
from hostile_worker import LIMIT_MB, Reader, is_fine, seed_of
from mutations import mutate

from umss_jax.audio.config import FileConfig
from umss_jax.audio.recording import read_blocks, scan
from umss_jax.audio.resampling import read_16k
from umss_jax.cli import run
from umss_jax.config import AudioConfig
from umss_jax.errors import UsageError

NOISE = 0.1 * np.random.default_rng(0).standard_normal((4000, 2))


@pytest.fixture(scope="module")
def reader():
    with Reader("audio") as started:
        yield started


def refusal(reader, path):
    """The line with which a file is refused, by a process with little memory."""
    answer = reader.ask(path)
    assert answer.startswith("refused "), answer
    assert is_fine(answer)
    assert str(path) in answer
    return answer


def wav(rate=16_000, channels=2, bits=16, tag=1, data=None, **sizes):
    """A WAV, byte by byte, so that its header can say anything."""
    data = bytes(32_000) if data is None else data
    align = sizes.get("align", max(1, channels * bits // 8) & 0xFFFF)
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xFFFFFFFF, align, bits)
    body = b"WAVEfmt " + struct.pack("<I", sizes.get("fmt", 16)) + fmt
    body += b"data" + struct.pack("<I", sizes.get("data_bytes", len(data))) + data
    return b"RIFF" + struct.pack("<I", sizes.get("riff", len(body))) + body


LOUD = np.round(20_000 * np.random.default_rng(0).standard_normal(16_000) / 4).astype("<i2")


@pytest.mark.parametrize("rate", [1, 2, 100, 999, 1_000_001, 2_000_000_000, 2**31 - 1])
@pytest.mark.parametrize("channels", [1, 8])
def test_rates_that_no_recording_has_are_refused(reader, tmp_path, rate, channels):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(rate, channels, data=LOUD.tobytes()))
    line = refusal(reader, path)
    assert f"says that it has {rate} samples a second" in line
    assert "1000 to 1000000 Hz" in line


@pytest.mark.parametrize("channels", [33, 64, 255, 1000])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_channels_that_no_mixture_has_are_refused(reader, tmp_path, channels, rate):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(rate, channels, data=LOUD.tobytes()))
    line = refusal(reader, path)
    assert f"has {channels} channels" in line
    assert "32 at most" in line


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (0, 0), (16_000, 0), (16_000, 65_535)])
def test_no_rate_and_no_channels(reader, tmp_path, rate, channels):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(rate, channels, data=LOUD.tobytes()))
    refusal(reader, path)


@pytest.mark.parametrize(
    "rate", [1_000, 1_001, 8_000, 11_025, 192_000, 384_000, 999_983, 1_000_000]
)
@pytest.mark.parametrize("channels", [1, 2, 32])
def test_rates_and_channels_within_the_limits_are_read(reader, tmp_path, rate, channels):
    path = tmp_path / "a.wav"
    samples = 16_000 // channels
    path.write_bytes(wav(rate, channels, data=LOUD.tobytes()))
    assert reader.ask(path) == f"ok {rate} {channels} {samples}"
    sound = read_16k(scan(path), AudioConfig())
    assert sound.samples == -(-samples * 16_000 // rate)


def test_blocks_of_many_channels_and_low_rates_are_short(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(NOISE, (40, 16)), 1_000)
    recording = scan(path)
    sizes = [block.size for block in read_16k(recording, AudioConfig()).blocks]
    assert max(sizes) <= 1.1 * FileConfig.block_values
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(recording)), axis=1), whole)


LENGTHS = [0, 1, 7, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF0, 0xFFFF_FFFF]


@pytest.mark.parametrize("data_bytes", LENGTHS)
@pytest.mark.parametrize("riff", [0, 36, 0xFFFF_FFFF])
def test_lengths_that_lie(reader, tmp_path, data_bytes, riff):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(data=LOUD.tobytes(), data_bytes=data_bytes, riff=riff))
    answer = reader.ask(path)
    assert is_fine(answer), answer
    if answer.startswith("ok"):
        assert int(answer.split()[-1]) <= len(LOUD) // 2


def overwrite(content, at, field):
    return content[:at] + field + content[at + len(field) :]


FORMATS = {
    "wav": {},
    "wavex": {"format": "WAVEX"},
    "float": {"subtype": "FLOAT"},
    "double": {"subtype": "DOUBLE"},
    "ima": {"subtype": "IMA_ADPCM"},
    "rf64": {"format": "RF64"},
    "w64": {"format": "W64"},
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "caf": {"format": "CAF"},
    "alac": {"format": "CAF", "subtype": "ALAC_16"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Short files of every kind, by name."""
    folder = tmp_path_factory.mktemp("valid")
    files = {}
    for name, options in FORMATS.items():
        path = folder / name
        soundfile.write(path, NOISE, 48_000, **{"format": "WAV", **options})
        files[name] = path.read_bytes()
    return files


@pytest.mark.parametrize("kind", FORMATS)
def test_every_kind_is_read(reader, tmp_path, valid, kind):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(valid[kind])
    assert reader.ask(path).startswith("ok 48000 2 ")


@pytest.mark.parametrize("kind", FORMATS)
def test_files_cut_in_every_structure(reader, tmp_path, valid, kind):
    content = valid[kind]
    lengths = sorted({*range(0, min(120, len(content)), 6), *range(120, len(content), 977)})
    for length in lengths:
        path = tmp_path / f"{length}.{kind}"
        path.write_bytes(content[:length])
        answer = reader.ask(path)
        assert is_fine(answer), (length, answer)


@pytest.mark.parametrize("kind", FORMATS)
def test_headers_that_lie(reader, tmp_path, valid, kind):
    """Fields of a structure overwritten by the numbers at which programs stumble."""
    content = valid[kind]
    fields = (bytes(4), b"\xff" * 4, b"\x00" * 8, b"\xff" * 8, struct.pack(">Q", 1 << 60))
    path = tmp_path / f"a.{kind}"
    for at in range(4, 100, 7):
        for field in fields:
            path.write_bytes(overwrite(content, at, field))
            answer = reader.ask(path)
            assert is_fine(answer), (at, field, answer)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [3e38, -3.4e38, 1e300, -np.inf, np.nan, 1e13])
@pytest.mark.parametrize("channels", [1, 2])
def test_values_beyond_sound_are_refused_by_time(reader, tmp_path, subtype, value, channels):
    sound = np.tile(NOISE[:, :1], (4, channels))
    with np.errstate(over="ignore"):
        sound = sound.astype("f4" if subtype == "FLOAT" else "f8")
        sound[8000:, -1] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, sound, 16_000, subtype=subtype)
    line = refusal(reader, path)
    assert "0.500 s" in line
    assert "not numbers" in line or "times full scale" in line


@pytest.mark.parametrize("scale", [32_768.0, 2.0**31, 1e12, 1e-3])
def test_floats_of_any_usual_scale_are_read(reader, tmp_path, scale):
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE * scale / np.abs(NOISE).max(), 16_000, subtype="FLOAT")
    assert reader.ask(path) == "ok 16000 2 4000"
    np.testing.assert_allclose(scan(path).peak, scale, rtol=1e-5)


def test_garbage_is_refused_by_name(reader, tmp_path):
    for number, ending in enumerate(["wav", "flac", "ogg", "mp3", "aiff", "raw", "au", "caf"]):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(np.random.default_rng(number).bytes(50_000))
        line = refusal(reader, path)  # some bytes look like the name of a rare format
        assert "not audio" in line or "truncated or damaged" in line


def test_what_is_no_regular_file_is_refused(reader, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "random.wav").symlink_to("/dev/urandom")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket.wav"))
    for name in ("pipe", "device", "random", "socket"):
        assert "not a regular file" in refusal(reader, tmp_path / f"{name}.wav")
    listening.close()
    (tmp_path / "nowhere.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "round.wav").symlink_to(tmp_path / "round.wav")
    for name in ("nowhere", "round", "never"):
        assert "does not exist" in refusal(reader, tmp_path / f"{name}.wav")
    (tmp_path / "folder.wav").mkdir()
    assert "is a directory" in refusal(reader, tmp_path / "folder.wav")
    assert "cannot be read" in refusal(reader, tmp_path / ("x" * 300 + ".wav"))
    with pytest.raises(UsageError, match="is no path"):
        scan("a\0b.wav")


def test_a_sparse_file_takes_no_memory(reader, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav(channels=32, data=LOUD.tobytes(), data_bytes=400 << 20))
    with path.open("r+b") as file:
        file.truncate(300 << 20)
    assert path.stat().st_size > LIMIT_MB << 20
    assert "truncated" in refusal(reader, path)


@pytest.mark.parametrize("command", ["separate", "f0"])
def test_commands_refuse_in_one_line(tmp_path, capsys, command):
    """Before any weights are read; the files beside them could still be done."""
    files = {
        "rate.wav": wav(1, data=LOUD.tobytes()),
        "channels.wav": wav(channels=255, data=LOUD.tobytes()),
        "both.wav": wav(2_000_000_000, 255, data=LOUD.tobytes()),
        "large.wav": wav(bits=32, tag=3, data=np.full(4000, 3e38, "<f4").tobytes()),
        "cut.wav": wav(data=LOUD.tobytes())[:1000],
        "none.raw": bytes(1000),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert run([command, str(tmp_path / name), "-o", str(tmp_path / "out")]) == 1
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if name in line]
        assert len(lines) == 1, said.err
        assert "internal" not in said.err
        assert not said.out


def fuzz(reader, folder, valid, cases):
    """Damaged files of every kind, ``cases`` of each; what must not happen is listed."""
    faults = []
    kinds = list(valid)
    for number, kind in enumerate(kinds):
        rng = np.random.default_rng(seed_of("audio", kind))
        other = valid[kinds[number - 1]]
        for case in range(cases):
            path = folder / f"{kind}.wav"
            path.write_bytes(mutate(valid[kind], rng, other))
            answer = reader.ask(path)
            if not is_fine(answer):
                faults.append(f"{kind} case {case}: {answer}")
    return faults


@pytest.mark.parametrize("cases", [20, pytest.param(1500, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused(tmp_path, valid, cases):
    with Reader("audio") as reader:
        faults = fuzz(reader, tmp_path, valid, cases)
        print(f"{cases * len(valid)} damaged audio files: {dict(reader.counts)}")
        assert not faults
        assert sum(reader.counts.values()) == cases * len(valid)
        assert reader.counts["refused"] > 0.2 * cases * len(valid)
        assert reader.counts["ok"] > 0
