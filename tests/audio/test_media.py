"""Recordings that FFmpeg reads: every container and codec that its wheel can make, in tests."""

import shutil
import subprocess
import sys

import av
import numpy as np
import pytest
import soundfile
from media_files import KINDS, Kind, encode, make, song, write_track
from refused_recordings import refused

from umss_jax.audio import media_container
from umss_jax.audio.media import open_media
from umss_jax.audio.recording import read_blocks, scan
from umss_jax.audio.sndfile import open_sndfile


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    return {name: make(folder, name) for name in KINDS}


def whole(path, block_samples=10_000):
    return np.concatenate(list(read_blocks(scan(path), block_samples)), axis=1)


def lag_of(sound, other):
    size = 1 << 18
    spectra = np.fft.rfft(sound, size), np.fft.rfft(other, size)
    lag = int(np.argmax(np.fft.irfft(spectra[0] * np.conj(spectra[1]))))
    return lag if lag < size // 2 else lag - size


def rounding(kind, version=str(av.ffmpeg_version_info)):
    """Samples that may be missing at the end.

    In what FFmpeg writes as MP4 the length of a track is rounded to milliseconds. From its version
    9 on it also cuts there what it reads.
    """
    is_mp4 = kind.suffix in ("m4a", "mp4", "mov", "3gp")
    return kind.rate // 1000 if is_mp4 and not version.startswith("8.") else 0


@pytest.mark.parametrize("name", KINDS)
def test_length_delay_and_sound(files, name):
    kind = KINDS[name]
    true = song(1.2345, kind.channels, kind.rate)
    recording = scan(files[name])
    assert recording[1:3] == (kind.rate, kind.channels)
    assert recording.note == ""
    assert 0 <= true.shape[1] + kind.more - recording.samples <= rounding(kind)
    sound = whole(files[name])
    for channel, wave in zip(sound, true, strict=True):
        lag = lag_of(channel, wave)
        speech = "amrnb" in kind.codec  # which is coarse: 12 kbit/s
        assert abs(lag - kind.lag) <= (45 if speech else 1)
        begin, count = max(0, -lag), min(len(wave) - max(0, -lag), len(channel) - max(0, lag))
        heard = channel[max(0, lag) :][:count]
        assert np.corrcoef(heard, wave[begin:][:count])[0, 1] > (0.9 if speech else 0.999)
    if kind.lossless:
        np.testing.assert_allclose(sound, true, atol=2.0**-15)


@pytest.mark.parametrize("name", KINDS)
def test_two_passes_give_the_same_samples(files, name):
    recording = scan(files[name])
    one, other = (np.concatenate(list(read_blocks(recording, n)), axis=1) for n in (777, 65_536))
    assert one.shape[1] == recording.samples
    np.testing.assert_array_equal(one, other)
    assert recording.peak == np.abs(one).max()


@pytest.mark.parametrize(
    ("ending", "subtype"),
    [("wav", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW")]
    + [("aiff", "PCM_24"), ("flac", "PCM_24"), ("w64", "PCM_16"), ("caf", "ALAC_24")],
)
def test_samples_are_those_of_libsndfile(tmp_path, ending, subtype):
    """The oracle, where both read a file: every sample format, to the bit."""
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, 1.9 * song(0.3).T, 44_100, subtype=subtype)
    decoders = open_sndfile(path), open_media(path)
    one, other = (np.concatenate(list(d.blocks(4096)), axis=1) for d in decoders)
    for decoder in decoders:
        decoder.check_whole(one.shape[1])
        decoder.close()
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("ending", ["mp3", "opus"])
def test_lossy_files_are_as_long_as_by_libsndfile(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    form = {"format": "OGG", "subtype": "OPUS"} if ending == "opus" else {}
    soundfile.write(path, song(1.0, rate=48_000).T, 48_000, **form)
    decoders = open_sndfile(path), open_media(path)
    one, other = (np.concatenate(list(d.blocks(4096)), axis=1) for d in decoders)
    for decoder in decoders:
        decoder.close()
    assert one.shape == other.shape
    np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("name", [n for n in KINDS if n not in ("ac3", "eac3", "mpg")])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_cut_files_are_refused(files, tmp_path, name, kept, capfd):
    content = files[name].read_bytes()
    path = tmp_path / f"cut{files[name].suffix}"
    path.write_bytes(content[: int(kept * len(content))])
    line = refused(path)
    assert "truncated" in line or "holds no samples" in line
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_an_mp4_that_begins_with_its_index_is_refused_where_it_is_cut(tmp_path, flags, kept):
    whole_file, path = tmp_path / "a.m4a", tmp_path / "b.m4a"
    with av.open(str(whole_file), "w", format="mp4", options={"movflags": flags}) as out:
        write_track(out, "aac", song(2.0), 44_100, 1000)
    assert abs(scan(whole_file).samples - 88_200) <= 1024
    content = whole_file.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    refused(path, "truncated or damaged after")


def test_damage_in_the_middle_is_told_by_its_time(files, tmp_path):
    content = bytearray(files["m4a"].read_bytes())
    at = content.index(b"mdat") + 9000
    content[at : at + 600] = bytes(600)
    path = tmp_path / "a.m4a"
    path.write_bytes(content)
    line = refused(path, "truncated or damaged after")
    assert 0.1 < float(line.split("after ")[1].split(" s")[0]) < 1.2


def test_sound_of_a_film(tmp_path):
    path = encode(tmp_path / "film.mp4", [song()], KINDS["mp4"], video=True)
    recording = scan(path)
    assert (recording.samples, recording.note) == (song().shape[1], "")
    assert lag_of(whole(path)[0], song()[0]) == 0


def test_a_film_without_sound(tmp_path):
    refused(encode(tmp_path / "film.mp4", [], KINDS["mp4"], video=True), "has no sound")


@pytest.mark.parametrize(("default", "taken"), [(0, "number 1 (eng)"), (1, "number 2 (cat)")])
@pytest.mark.parametrize("kind", ["mka aac", "mka flac"])
def test_the_default_of_several_tracks_is_taken_and_told(tmp_path, kind, default, taken):
    sounds = [song(1.0), song(1.0)[::-1]]
    path = tmp_path / "two.mka"
    encode(path, sounds, KINDS[kind], languages=("eng", "cat"), default=default)
    recording = scan(path)
    assert f"{path} has 2 sound tracks: {taken} is taken" in recording.note
    heard = np.corrcoef(whole(path)[0][:40_000], sounds[default][0][:40_000])[0, 1]
    assert heard > 0.99


@pytest.mark.parametrize("suffix", ["mp3", "wav", "ogg", "flac", "aiff", "raw", "txt", ""])
@pytest.mark.parametrize("name", ["m4a", "aac", "webm", "wma", "amr"])
def test_the_ending_of_the_name_does_not_matter(files, tmp_path, name, suffix):
    path = tmp_path / (f"http:x.{suffix}" if suffix else "-")
    shutil.copy(files[name], path)
    np.testing.assert_array_equal(whole(path), whole(files[name]))


def replaced(files, name, old, new, tmp_path):
    content = files[name].read_bytes()
    at = content.rindex(old)
    assert len(old) == len(new)
    path = tmp_path / files[name].name
    path.write_bytes(content[:at] + new + content[at + len(old) :])
    return path


@pytest.mark.parametrize("tag", [b"drms", b"enca"])
def test_locked_tracks(files, tmp_path, tag):
    path = replaced(files, "m4a", b"mp4a", tag, tmp_path)
    refused(path, "is protected against copying (DRM)", "without protection")


def test_locked_wma_and_audible(files, tmp_path):
    content = files["wma"].read_bytes()
    lock = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e") + (24).to_bytes(8, "little")
    size = int.from_bytes(content[16:24], "little") + 24
    count = int.from_bytes(content[24:28], "little") + 1
    head = content[:16] + size.to_bytes(8, "little") + count.to_bytes(4, "little") + content[28:30]
    path = tmp_path / "a.wma"
    path.write_bytes(head + lock + content[30:])
    refused(path, "DRM")
    content = files["m4a"].read_bytes()
    path = tmp_path / "a.aax"
    path.write_bytes(content.replace(b"ftypM4A ", b"ftypaax ", 1))
    refused(path, "DRM")


def test_unknown_codecs(files, tmp_path):
    path = replaced(files, "mka aac", b"A_AAC", b"A_XYZ", tmp_path)
    refused(path, "in a format that is not known", "export WAV, FLAC or M4A")


def test_of_tracks_one_that_is_known_is_taken(tmp_path):
    """As films of newer phones have a second track in a format of their maker's."""
    path = encode(tmp_path / "two.mka", [song(0.5)] * 2, KINDS["mka flac"], languages=("a", "b"))
    content = path.read_bytes()
    assert content.count(b"A_FLAC") == 2
    path.write_bytes(content.replace(b"A_FLAC", b"A_XYZC", 1))
    assert "2 sound tracks: number 2 (b) is taken" in scan(path).note


def test_a_change_of_rate_half_way(files, tmp_path):
    kind = KINDS["aac"]
    other = encode(tmp_path / "b.aac", [song(1.0, rate=22_050)], kind._replace(rate=22_050))
    path = tmp_path / "joined.aac"
    path.write_bytes(files["aac"].read_bytes() + other.read_bytes())
    refused(path, "changes from 44100 Hz with 2 channels to 22050 Hz", "half-way")


def test_a_stream_that_begins_in_the_middle_of_a_packet(files, tmp_path):
    path = tmp_path / "a.aac"
    path.write_bytes(files["aac"].read_bytes()[100:])
    assert 50_000 < scan(path).samples < 56_320


@pytest.mark.parametrize(
    "text",
    ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{0}\n", "ffconcat version 1.0\nfile {0}\n"],
)
@pytest.mark.parametrize("ending", ["mp3", "m3u8", "txt", "m4a"])
def test_no_other_file_is_opened(files, tmp_path, text, ending):
    """Playlists are refused: FFmpeg by itself opens what they name, also in the network."""
    shutil.copy(files["m4a"], tmp_path / "other.m4a")
    path = tmp_path / f"list.{ending}"
    path.write_text(text.format("other.m4a"))
    refused(path, "not audio that can be decoded")


@pytest.mark.parametrize("ending", ["png", "pdf", "zip", "html", "m4a", "mov"])
def test_other_files_are_no_audio(tmp_path, ending):
    from PIL import Image

    path = tmp_path / f"a.{ending}"
    if ending == "png":
        Image.new("RGB", (40, 40)).save(path)
    else:
        path.write_bytes(b"%PDF-1.7 PK\3\4 <html>" + bytes(range(256)) * 40)
    refused(path, "not audio that can be decoded", "export WAV, FLAC or M4A")


def test_without_pyav(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    media_container.pyav.cache_clear()
    refused(files["m4a"], "without PyAV", "pip install av", "ffmpeg -i ")
    monkeypatch.undo()
    media_container.pyav.cache_clear()


def test_a_recording_that_a_browser_streamed(tmp_path):
    """WebM of unknown length, as MediaRecorder writes it."""
    path = tmp_path / "a.webm"
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as out:
        write_track(out, "libopus", song(1.0, 1, 48_000), 48_000, 960)
    assert abs(scan(path).samples - 48_000) <= 960


def test_rates_that_no_recording_has_are_refused(tmp_path):
    kind = Kind("tta", "tta", 500, 1)
    refused(encode(tmp_path / "a.tta", [song(4.0, 1, 500)], kind), "500 samples a second")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", KINDS)
def test_samples_are_those_of_the_program_ffmpeg(files, tmp_path, name):
    """Older versions (5.1) keep the delay of which Matroska tells: the sound begins later by it."""
    made = tmp_path / "a.wav"
    command = ["ffmpeg", "-v", "error", "-i", files[name], "-c:a", "pcm_f32le", made]
    subprocess.run(command, check=True)
    by_program = soundfile.read(made, dtype="float32", always_2d=True)[0].T
    ours = whole(files[name])
    with av.open(str(files[name])) as container:
        delay = container.streams.audio[0].codec_context.delay
    if files[name].suffix in (".mka", ".mkv") and lag_of(by_program[0], ours[0]) == delay:
        by_program = by_program[:, delay:]
    assert -rounding(KINDS[name], "9.0") <= by_program.shape[1] - ours.shape[1] < 2048
    both = min(by_program.shape[1], ours.shape[1])
    np.testing.assert_allclose(ours[:, :both], by_program[:, :both], atol=1e-3)
