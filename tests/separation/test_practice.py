"""Practice files: levels, lengths, tempo and formats, measured in what was written."""

import json

import numpy as np
import pytest
import soundfile
from stub_engine import StubEngine
from sung_tone import autocorrelation_f0, vowel

from umss_jax.audio.segments import SegmentStems
from umss_jax.config import VOICES
from umss_jax.errors import AudioError, UsageError
from umss_jax.separation.config import PracticeConfig, SeparationConfig, SoundFormat
from umss_jax.separation.outputs import SOUNDS
from umss_jax.separation.stems import StemOptions, separate_file

SHORT = SeparationConfig(segment_s=1.0, overlap=0.25)
RATE = 44_100


def noise(path, seconds=2.5, channels=2, peak=0.4, rate=RATE, **options):
    audio = np.random.default_rng(0).uniform(-peak, peak, (int(seconds * rate), channels))
    soundfile.write(path, audio, rate, **options)
    return path


def separated(path, out, engine=None, **options):
    return separate_file(path, out, engine or StubEngine(), SHORT, StemOptions(**options))


def sounds(folder, extension="wav"):
    return {
        path.stem: soundfile.read(path, always_2d=True)[0] for path in folder.glob(f"*.{extension}")
    }


@pytest.mark.parametrize("others_db", [-12.0, -6.0, 0.0, -96.0])
def test_levels_of_the_mixes(tmp_path, others_db):
    path = noise(tmp_path / "choir.wav", subtype="PCM_24")
    track = separated(path, tmp_path / "out", practice=PracticeConfig(others_db=others_db))
    found, whole = sounds(track.folder), soundfile.read(path)[0]
    assert len(found) == len(SOUNDS) + 2 * len(VOICES)
    gain = 10 ** (others_db / 20)
    for voice in VOICES:
        others = sum(found[name] for name in SOUNDS if name != voice)
        in_front, without = found[f"{voice}_predominant"], found[f"{voice}_missing"]
        np.testing.assert_allclose(in_front, found[voice] + gain * others, atol=2e-6)
        np.testing.assert_allclose(without, whole - found[voice], atol=2e-6)
    assert track.manifest["practice"] == {"others_db": others_db, "tempo": 1.0, "gain": 1.0}


@pytest.mark.parametrize("sound_format", list(SoundFormat))
def test_all_formats_have_the_same_files_rates_and_lengths(tmp_path, sound_format):
    pytest.importorskip("python_stretch")
    path = tmp_path / "choir.wav"
    tone = vowel(np.linspace(200, 300, int(2.5 * RATE)), RATE)
    soundfile.write(path, np.stack([tone, 0.5 * tone], axis=1), RATE, subtype="PCM_24")
    practice = PracticeConfig(tempo=0.8)
    track = separated(path, tmp_path / "out", practice=practice, sound_format=sound_format)
    found = sounds(track.folder, sound_format)
    names = {*SOUNDS, *(f"{voice}_{mix}" for voice in VOICES for mix in ("predominant", "missing"))}
    assert found.keys() == names
    samples = len(soundfile.read(path)[0])
    for name, sound in found.items():
        expected = samples if name in SOUNDS else round(samples / 0.8)
        assert sound.shape == (expected, 2), name
        assert soundfile.info(track.folder / f"{name}.{sound_format}").samplerate == RATE
    total = sum(found[name] for name in SOUNDS)
    error = total - soundfile.read(path)[0]
    noise_db = 10 * np.log10(np.mean(error**2) / np.mean(total**2) + 1e-20)
    assert noise_db < (-100 if sound_format in ("wav", "flac") else -20)
    assert {f"{name}.{sound_format}" for name in names} | {"f0.csv"} == set(
        track.manifest["outputs"]
    )


class Panned(StubEngine):
    """Each voice's own channel holds it, alone."""

    def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
        good = super().separate(mixture_16k, channels_16k, seeds)
        stems = np.zeros_like(good.stems_16k)
        for voice in range(len(VOICES)):
            stems[:, voice, voice] = channels_16k[:, voice]
        return SegmentStems(stems, good.f0_hz_synth)


def test_tempo_leaves_the_pitch_of_every_part(tmp_path):
    """A mix of four known voices, each in a channel: all slower, none lower, level as before."""
    pytest.importorskip("python_stretch")
    f0_hz = np.array([523.0, 330.0, 220.0, 98.0])
    time_s = np.arange(4 * RATE) / RATE
    vibrato = 2 ** (0.5 / 12 * np.sin(2 * np.pi * 5.5 * time_s))
    voices = np.stack([vowel(hz * vibrato, RATE) for hz in f0_hz], axis=1)
    soundfile.write(tmp_path / "choir.wav", 0.8 * voices, RATE, subtype="PCM_24")
    options = {"practice": PracticeConfig(tempo=0.7), "stems": ("tenor", "bass")}
    track = separated(tmp_path / "choir.wav", tmp_path, Panned(), **options)
    found = sounds(track.folder)
    assert found.keys() == {
        *("tenor", "bass", "tenor_predominant", "tenor_missing"),
        *("bass_predominant", "bass_missing"),
    }
    at = np.arange(0.2, 3.8, 0.02)
    for name, others_db, own_db in (("tenor_predominant", -12, 0), ("bass_missing", 0, None)):
        made = found[name]
        assert abs(len(made) / RATE - 4 / 0.7) < 0.010
        own = VOICES.index(name.split("_")[0])
        for voice in range(len(VOICES)):
            level_db = own_db if voice == own else others_db
            inner, true = made[RATE // 5 : -RATE // 5, voice], 0.8 * voices[:, voice]
            if level_db is None:
                assert np.mean(inner**2) < 1e-4 * np.mean(true**2)
                continue
            assert 10 * np.log10(np.mean(inner**2) / np.mean(true**2)) == pytest.approx(
                level_db, abs=0.75
            )
            tracked = autocorrelation_f0(made[:, voice], RATE, at / 0.7)
            true_hz = f0_hz[voice] * np.interp(at, time_s, vibrato)
            assert np.mean(tracked > 0) > 0.97
            cents = 1200 * np.log2(tracked[tracked > 0] / true_hz[tracked > 0])
            assert abs(np.median(cents)) < 3


def test_what_would_clip_is_turned_down(tmp_path):
    class Opposed(StubEngine):
        """Stems that are louder than what they sum to."""

        def separate(self, mixture_16k, channels_16k, seeds, sang_before=None):
            good = super().separate(mixture_16k, channels_16k, seeds)
            shares = np.float32([-0.9, 0.7, 0.6, 0.6])[None, :, None, None]
            return SegmentStems(channels_16k[:, None] * shares, good.f0_hz_synth)

    path = noise(tmp_path / "choir.wav", peak=0.9, subtype="PCM_24")
    track = separated(path, tmp_path / "out", Opposed(), practice=PracticeConfig())
    gain = track.manifest["practice"]["gain"]
    found, whole = sounds(track.folder), soundfile.read(path)[0]
    without = whole - found["soprano"] / track.manifest["gain"]
    assert np.abs(without).max() > 1
    assert gain == pytest.approx(0.999 / np.abs(without).max(), rel=1e-4)
    np.testing.assert_allclose(found["soprano_missing"], gain * without, atol=1e-4)


def test_fewer_stems_are_the_same_stems(tmp_path):
    """Also where all are turned down by one gain, that of all."""
    path = noise(tmp_path / "hot.wav", peak=1.6, subtype="FLOAT")
    full = separated(path, tmp_path / "full")
    few = separated(path, tmp_path / "few", stems=("residual", "bass", "soprano"))
    names = {"soprano.wav", "bass.wav", "residual.wav", "f0.csv", "manifest.json"}
    assert {item.name for item in few.folder.iterdir()} == names
    assert few.manifest["gain"] == full.manifest["gain"] < 1
    for name in names - {"manifest.json"}:
        if name == "f0.csv":
            assert (few.folder / name).read_bytes() == (full.folder / name).read_bytes()
            continue
        ours, theirs = (soundfile.read(t.folder / name)[0] for t in (few, full))
        np.testing.assert_array_equal(ours, theirs)
    assert few.manifest["left_out"] == ["alto", "tenor"]
    assert "left_out" not in full.manifest


@pytest.mark.parametrize("sound_format", ["wav", "flac", "ogg", "mp3"])
def test_a_part_of_a_recording(tmp_path, sound_format):
    path = noise(tmp_path / "choir.flac", seconds=4.0)
    part = separated(path, tmp_path, sound_format=sound_format, start_s=1.25, duration_s=1.5)
    found = sounds(part.folder, sound_format)
    first, samples = round(1.25 * RATE), round(1.5 * RATE)
    assert {len(sound) for sound in found.values()} == {samples}
    assert part.manifest["input"]["start_s"] == 1.25
    assert part.manifest["input"]["duration_s"] == 1.5
    if sound_format in ("wav", "flac"):
        total = sum(found[name] for name in SOUNDS)
        heard = soundfile.read(path)[0][first : first + samples]
        np.testing.assert_allclose(total, heard, atol=1e-6)


@pytest.mark.parametrize("sound_format", list(SoundFormat))
def test_title_and_part_are_in_the_files(tmp_path, sound_format):
    path = noise(tmp_path / "Ubi caritas.wav", seconds=1.0)
    track = separated(path, tmp_path / "out", sound_format=sound_format, practice=PracticeConfig())
    for name, part in (("alto", "alto"), ("alto_missing", "alto missing")):
        with soundfile.SoundFile(track.folder / f"{name}.{sound_format}") as file:
            tags = file.copy_metadata()
        assert tags["title"] == f"Ubi caritas - {part}"
        assert tags["album"] == "Ubi caritas"
    front = soundfile.SoundFile(track.folder / f"bass_predominant.{sound_format}")
    assert "others at -12 dB" in front.copy_metadata()["comment"]


def test_the_title_of_the_recording_goes_first(tmp_path):
    path = noise(tmp_path / "track07.wav", seconds=1.0)
    with soundfile.SoundFile(tmp_path / "titled.flac", "w", RATE, 2, "PCM_16") as file:
        file.title, file.artist = "Locus iste", "Kammerchor"
        file.write(soundfile.read(path)[0])
    track = separated(tmp_path / "titled.flac", tmp_path, stems=("bass",))
    tags = soundfile.SoundFile(track.folder / "bass.wav").copy_metadata()
    assert (tags["title"], tags["artist"]) == ("Locus iste - bass", "Kammerchor")


@pytest.mark.parametrize(
    ("sound_format", "rate", "channels"),
    [("mp3", 96_000, 2), ("mp3", 44_100, 3), ("ogg", 384_000, 1), ("flac", 44_100, 9)],
)
def test_what_a_format_cannot_hold_is_refused_before_the_work(
    tmp_path, sound_format, rate, channels
):
    path = noise(tmp_path / "a.wav", seconds=0.2, rate=rate, channels=channels)
    engine = StubEngine()
    with pytest.raises(
        AudioError, match=f"cannot hold {channels} channels at {rate} Hz: write WAV"
    ):
        separated(path, tmp_path / "out", engine, sound_format=sound_format)
    assert engine.heard == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sound_format": "aac"}, "no format is called 'aac': choose from wav, flac, ogg, mp3"),
        ({"sound_format": "mp3", "flac": True}, "exclude each other"),
        ({"sound_format": "ogg", "float32": True}, "--float32 is not for --format ogg"),
        ({"stems": ("soprano", "viola")}, "no 'viola'"),
        ({"stems": ()}, "names none"),
        ({"stems": ("residual",), "practice": PracticeConfig()}, "no part to put in front"),
        ({"filename": "{x}"}, "has a field 'x'"),
        ({"start_s": -1.0}, "--start is -1"),
    ],
)
def test_options_that_cannot_be_met(tmp_path, options, message):
    path = noise(tmp_path / "a.wav", seconds=0.2)
    with pytest.raises(UsageError) as caught:
        separated(path, tmp_path / "out", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"tempo": 0.49}, {"tempo": 2.1}, {"tempo": float("nan")}, {"others_db": 1.0}],
)
def test_settings_out_of_range(settings):
    with pytest.raises(UsageError, match=r"--(tempo|others-db) is .*: give a number from"):
        PracticeConfig(**settings)


def test_overwriting_removes_what_is_not_asked_for_again(tmp_path):
    path = noise(tmp_path / "a.wav", seconds=0.5)
    first = separated(path, tmp_path / "out", sound_format="mp3", practice=PracticeConfig())
    (first.folder / "notes.txt").write_text("mine")
    again = separated(path, tmp_path / "out", stems=("alto",), overwrite=True)
    names = {"alto.wav", "f0.csv", "manifest.json", "notes.txt"}
    assert {item.name for item in again.folder.iterdir()} == names
    assert json.loads((again.folder / "manifest.json").read_text())["outputs"] == [
        *("alto.wav", "f0.csv"),
    ]
