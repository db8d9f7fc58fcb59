"""Two to eight voices, whatever they are called: stems, tables, practice files, manifest, page."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from umss_jax.audio.segments import SegmentStems
from umss_jax.config import ModelConfig, with_voices
from umss_jax.errors import ReportError, UsageError
from umss_jax.pitch.tables import read_voices
from umss_jax.report.page import write_reports
from umss_jax.separation.config import PracticeConfig, SeparationConfig
from umss_jax.separation.outputs import sounds_of
from umss_jax.separation.stems import StemOptions, separate_file
from umss_jax.separation.stream import separate_array
from umss_jax.voice_sets import parse_voices

RATE = 22_050


class Engine:
    """Gives each voice a share of the mixture and a pitch of its own."""

    name = "shares"
    provenance = {"device": "none"}  # noqa: RUF012
    batch_segments = 1

    def __init__(self, voices):
        self.config = with_voices(ModelConfig(), voices)
        self.voices = voices.names

    def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
        count = len(self.voices)
        shares = np.arange(1, count + 1, dtype=np.float32) / (count * (count + 1) / 2)
        stems = channels_16k[:, None] * shares[None, :, None, None]
        frames = mixture_16k.shape[-1] // 256
        f0_hz = np.broadcast_to(
            800 / np.arange(1, count + 1, dtype=np.float32)[None, :, None],
            (len(seeds), count, frames),
        )
        return SegmentStems(stems, f0_hz, None)


@pytest.fixture
def recording(tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5 * RATE)).astype(np.float32)
    path = tmp_path / "choir.wav"
    soundfile.write(path, sound.T, RATE, "PCM_24")
    return path


@pytest.fixture(params=["duet", "ssaattbb", "file"])
def voices(request, tmp_path):
    if request.param != "file":
        return parse_voices(request.param)
    path = tmp_path / "ours.toml"
    path.write_text('"1" = [60, 80]\n"сопрано" = [58, 77]\nvoice = [40, 60]\n')
    return parse_voices(str(path))


def test_stems_and_residual_sum_to_the_recording(recording, voices, tmp_path):
    practice = PracticeConfig()
    track = separate_file(
        recording, tmp_path, Engine(voices), options=StemOptions(practice=practice)
    )
    written, _ = soundfile.read(recording)
    names = sounds_of(voices.names)
    found = {name: soundfile.read(track.folder / f"{name}.wav")[0] for name in names}
    assert np.abs(sum(found.values()) - written).max() < 1e-6
    for voice in voices.names:
        missing, _ = soundfile.read(track.folder / f"{voice}_missing.wav")
        assert np.abs(missing - (written - found[voice])).max() < 1e-4
    table = read_voices(track.folder / "f0.csv", voices.names)
    assert table.voices == voices.names
    expected = 800 / np.arange(1, len(voices) + 1)
    np.testing.assert_allclose(table.f0_hz[:, 10], expected, rtol=1e-4)
    manifest = json.loads((track.folder / "manifest.json").read_text())
    assert manifest["voices"] == list(voices.names)
    assert len(manifest["outputs"]) == 3 * len(voices) + 2
    (report,) = write_reports(track.folder)
    text = report.path.read_text(encoding="utf-8")
    assert all(f"{name[:1].upper()}{name[1:]}" in text for name in names)
    assert f"--voice-{len(voices)}" in text


def test_the_same_in_memory(recording, voices):
    sound, rate = soundfile.read(recording, always_2d=True)
    result = separate_array(sound.T, rate, Engine(voices))
    assert tuple(result.voices) == voices.names
    assert np.abs(result.stems.sum(axis=0) + result.residual - sound.T).max() < 1e-5


def test_other_voices_replace_those_that_were_there(recording, tmp_path):
    first = Engine(parse_voices("ttbb"))
    folder = separate_file(recording, tmp_path, first).folder
    (folder / "notes.txt").write_text("mine")
    separate_file(
        recording, tmp_path, Engine(parse_voices("duet")), options=StemOptions(overwrite=True)
    )
    found = {path.name for path in folder.iterdir()}
    names = {"voice1.wav", "voice2.wav", "residual.wav", "f0.csv", "manifest.json", "notes.txt"}
    assert found == names


def test_stems_that_the_voices_do_not_have_are_refused(recording, tmp_path):
    options = StemOptions(stems=("soprano",))
    with pytest.raises(UsageError, match="voice1, voice2, residual"):
        separate_file(recording, tmp_path, Engine(parse_voices("duet")), options=options)


@pytest.mark.parametrize("voices", [["a"], ["a", "a"], "ab", [1, 2], ["../x", "y"], {}, None])
def test_a_manifest_of_no_voices_makes_no_page(recording, tmp_path, voices):
    folder = separate_file(recording, tmp_path, Engine(parse_voices("duet"))).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "voices": voices}))
    with pytest.raises(ReportError):
        write_reports(folder)


def test_two_voices_do_not_look_like_four(recording):
    config = replace(SeparationConfig(), full_band=False)
    sound, rate = soundfile.read(recording, always_2d=True)
    duet = parse_voices("duet")
    result = separate_array(sound.T, rate, Engine(duet), config)
    assert result.likeness.four_at_once == 1.0
    assert "two singers (voice1, voice2)" in result.likeness.warning("x", duet)
