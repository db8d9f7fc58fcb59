"""Test sets: which excerpts of which files, and one line for every wrong folder."""

from functools import partial

import numpy as np
import pytest
import soundfile

from umss_jax.config import AudioConfig
from umss_jax.data import excerpts as data_excerpts
from umss_jax.data import test_sets
from umss_jax.data.config import Dataset
from umss_jax.data.test_sets import f0_is_there
from umss_jax.errors import DatasetError, UsageError

LETTERS = "satb"
VOICES = ("soprano", "alto", "tenor", "bass")
AUDIO = AudioConfig()
quartets_of = partial(test_sets.quartets_of, audio=AUDIO, length_tolerance_s=2.0)
cut_excerpts = partial(data_excerpts.cut_excerpts, audio=AUDIO)


def write(file, seconds=10.0, level=0.1, rate_hz=16_000, channels=1):
    file.parent.mkdir(parents=True, exist_ok=True)
    audio = np.full((round(seconds * rate_hz), channels), level, np.float32)
    audio[::2] *= -1  # the highest tone there is
    soundfile.write(file, audio, rate_hz, "FLOAT")


def write_f0(recording, rows=700):
    folder = recording.parent
    folder = (folder.parent if folder.name == "audio_16kHz" else folder) / "crepe_f0_center"
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{recording.stem}_frequency.npy", np.arange(rows) + 100.0)
    np.save(folder / f"{recording.stem}_confidence.npy", np.ones(rows))


@pytest.fixture
def cantoria(tmp_path):
    """HCB, of nominally 36 s: 8 excerpts."""
    root = tmp_path / "CantoriaDataset"
    for level, letter in enumerate(LETTERS, start=1):
        write(root / "HCB" / "audio_16kHz" / f"Cantoria_HCB_{letter.upper()}.wav", 36.5, level / 16)
    return root


@pytest.fixture
def bcbsq(tmp_path):
    root = tmp_path / "datasets"
    for collection, parts in (
        ("BC", ("8_BC012_part1", "1_BC001_part1")),
        ("BQ", ("9_BQ003_part2",)),
    ):
        for part in parts:
            for level, letter in enumerate(LETTERS, start=1):
                file = root / collection / "audio_16kHz" / f"{part}_{letter}_1ch.wav"
                write(file, 10, level / 16)
                write_f0(file)
    for collection, part in (("BC", "9_BC020_part1"), ("BQ", "8_BQ001_part1")):
        for letter in LETTERS:
            write(root / collection / "audio_16kHz" / f"{part}_{letter}_1ch.wav")
            write_f0(root / collection / "audio_16kHz" / f"{part}_{letter}_1ch.wav")
    return root


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    root = tmp_path / "choir"
    for voice in VOICES:
        write(root / "psalm" / f"{voice}.wav", 13, 0.2, 32_000, 2)
        write(root / "hymn" / f"{voice}.wav", 5)
    return root


def error(dataset, root, songs=(), cut=False):
    def run():
        quartets = quartets_of(dataset, root, songs)
        return list(cut_excerpts(quartets, with_f0=False)) if cut else quartets

    with pytest.raises((DatasetError, UsageError)) as caught:
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cantoria(cantoria):
    (quartet,) = quartets_of(Dataset.CANTORIA, cantoria, ["HCB"])
    assert [file.stem[-1] for file in quartet.files] == list("SATB")
    assert quartet.start_frames == tuple(int(4 * n // 0.016) for n in range(1, 9))
    assert not f0_is_there([quartet])
    excerpts = list(cut_excerpts([quartet], with_f0=False))
    assert excerpts[0].name == "HCB_satb_3.984"
    assert excerpts[0].song == "HCB"
    np.testing.assert_allclose(np.abs(excerpts[0].sources[:, 0]), [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_bcbsq_is_the_validation_set_of_the_reference(bcbsq):
    quartets = quartets_of(Dataset.BCBSQ, bcbsq)
    names = ["8_BC012_part1", "9_BC020_part1", "8_BQ001_part1", "9_BQ003_part2"]
    assert [quartet.name for quartet in quartets] == [f"{name}_satb" for name in names]
    # 0.04 s later than elsewhere and from the beginning: frames 2 and 252
    assert {quartet.start_frames for quartet in quartets} == {(2, 252)}
    assert f0_is_there(quartets)
    excerpt = next(cut_excerpts(quartets))
    assert excerpt.name == "8_BC012_part1_satb_0.032"
    np.testing.assert_array_equal(excerpt.f0_hz_synth[0], np.arange(2, 252) + 100)
    (chosen,) = quartets_of(Dataset.BCBSQ, bcbsq, ["BC/1_BC001*"])
    assert chosen.song == "BC/1_BC001_part1"


def test_folders_may_have_any_rate_and_come_without_f0(folder):
    hymn, psalm = quartets_of(Dataset.FOLDER, folder)
    assert (hymn.start_frames, psalm.start_frames) == ((0,), (249, 499))
    excerpt = list(cut_excerpts([psalm], with_f0=False))[1]
    assert excerpt.name == "psalm_7.984"
    assert excerpt.sources.shape == (4, 64_000)
    for voice in VOICES[:3]:
        write_f0(folder / "hymn" / f"{voice}.wav", 250)
    with pytest.raises(DatasetError, match=r"bass\.wav has no F0 track, others have"):
        f0_is_there([hymn])
    write_f0(folder / "hymn" / "bass.wav", 250)
    assert f0_is_there([hymn])
    assert next(cut_excerpts([hymn])).f0_hz_synth[3, 0] == 100


def test_a_table_beside_a_stem_is_its_f0(folder):
    for voice in VOICES:
        rows = [f"{n * 0.016:.3f},{110 + n},{float(n > 2):.1f}" for n in range(251)]
        table = folder / "hymn" / f"{voice}.f0.csv"
        table.write_text("\n".join(["time,frequency,confidence", *rows]) + "\n")
    hymn, _ = quartets_of(Dataset.FOLDER, folder)
    assert f0_is_there([hymn])
    (excerpt,) = cut_excerpts([hymn])
    np.testing.assert_array_equal(excerpt.f0_hz_synth, np.tile([0, 0, 0, *range(113, 360)], (4, 1)))


def test_singers_of_a_section_are_quartets_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    for section in ("Soprano", "ContraAlt", "tenor", "Bajos"):
        for singer in (1, 2):
            write(tmp_path / "csd" / "Song" / "audio_16kHz" / f"{section}_{singer}.wav", 9)
    quartets = quartets_of(Dataset.FOLDER, tmp_path / "csd")
    assert [quartet.name for quartet in quartets] == ["Song_singers_1", "Song_singers_2"]
    assert [file.stem for file in quartets[1].files][2:] == ["tenor_2", "Bajos_2"]


def test_a_root_one_level_off_is_named_with_the_right_one(cantoria, bcbsq):
    assert f"point higher, at {cantoria}" in error("cantoria", cantoria / "HCB", ["HCB"])
    assert f"point one level deeper, at {cantoria}" in error("cantoria", cantoria.parent, ["HCB"])
    assert f"point higher, at {bcbsq}" in error("bcbsq", bcbsq / "BC")
    assert f"point one level deeper, at {bcbsq}" in error("bcbsq", bcbsq.parent)
    assert "not a folder: expected the folder of bcbsq" in error("bcbsq", bcbsq / "none")


def test_missing_stems_are_named(cantoria, bcbsq, folder):
    (cantoria / "HCB" / "audio_16kHz" / "Cantoria_HCB_T.wav").unlink()
    text = error("cantoria", cantoria, ["HCB"])
    assert f"{cantoria / 'HCB' / 'audio_16kHz'}: HCB has no tenor: expected one file each" in text
    (bcbsq / "BC" / "audio_16kHz" / "8_BC012_part1_b_1ch.wav").unlink()
    assert f"{bcbsq}: BC/8_BC012_part1 has no bass" in error("bcbsq", bcbsq)
    (folder / "hymn" / "alto.wav").unlink()
    assert f"{folder}: hymn has no alto" in error("folder", folder)
    assert [quartet.song for quartet in quartets_of(Dataset.FOLDER, folder, ["psalm"])] == ["psalm"]


def test_an_incomplete_training_part_does_not_matter(bcbsq):
    (bcbsq / "BC" / "audio_16kHz" / "1_BC001_part1_s_1ch.wav").unlink()
    assert len(quartets_of(Dataset.BCBSQ, bcbsq)) == 4


def test_lengths_and_rates_that_do_not_fit_are_named(cantoria, bcbsq, folder):
    alto = cantoria / "HCB" / "audio_16kHz" / "Cantoria_HCB_A.wav"
    write(alto, 30)
    text = error("cantoria", cantoria, ["HCB"], cut=True)
    assert f"{alto} ends at sample 480000: replace it by a recording of at least" in text
    write(alto, 37, rate_hz=22_050)
    text = error("cantoria", cantoria, ["HCB"], cut=True)
    assert f"{alto} has 22050 Hz, 1 channel: convert it to 16000 Hz mono" in text
    write(folder / "psalm" / "bass.wav", 10)
    text = error("folder", folder)
    assert f"{folder / 'psalm' / 'bass.wav'} is 10.00 s long and" in text
    assert "expected stems of one piece to be equally long (within 2 s)" in text
    part = bcbsq / "BQ" / "audio_16kHz" / "9_BQ003_part2_a_1ch.wav"
    part.write_bytes(b"no audio")
    assert f"{part} is not readable audio" in error("bcbsq", bcbsq)


def test_other_layouts_are_refused(folder, tmp_path):
    write(tmp_path / "mixtures" / "choir.wav")
    text = error("folder", tmp_path / "mixtures")
    assert "holds recordings without stems: expected <piece>/soprano.*" in text
    assert "no test song is called AVE: choose from EJB1" in error("cantoria", folder, ["AVE"])
    assert "is not a folder: point at the folder that holds EJB1" in error("cantoria", folder)
    assert "BC/audio_16kHz is not a folder" in error("bcbsq", folder)
    assert "no piece is called 'anthem': there are hymn" in error("folder", folder, ["anthem"])
    for letter in LETTERS:
        write(tmp_path / "other" / "EJB1" / "audio_16kHz" / f"one_{letter}.wav")
        write(tmp_path / "other" / "EJB1" / "audio_16kHz" / f"two_{letter}.wav")
    text = error("cantoria", tmp_path / "other", ["EJB1"])
    assert "holds no song of Cantoría: expected one file each named *EJB1_s.wav" in text
