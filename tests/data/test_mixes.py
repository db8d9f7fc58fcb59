"""Layouts of datasets, decoded audio, random mixes, validation excerpts."""

import shutil

import numpy as np
import pytest
import soundfile

from umss_jax.audio.cache import DecodedAudio
from umss_jax.cli import run
from umss_jax.config import VOICES, AudioConfig
from umss_jax.data import layouts as data_layouts
from umss_jax.data import mixes as data
from umss_jax.data.config import DataConfig, SetConfig
from umss_jax.data.pieces import find_pieces, open_pieces
from umss_jax.errors import DatasetError

AUDIO = AudioConfig(example_samples=4096)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))


def write(path, seconds=1.0, seed=0, rate=16_000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *path.name.encode()])
    soundfile.write(path, rng.uniform(-0.2, 0.2, (round(seconds * rate), channels)), rate, "FLOAT")
    return path


def csd(root, song="Nino_Dios", singers=2):
    for section in ("Soprano", "ContraAlt", "tenor", "Bajos"):
        for singer in range(1, singers + 1):
            write(root / song / "audio_16kHz" / f"nino_{section}_{singer}05.wav")
    return root


def letters(root, song, parts, ending="_1ch"):
    for part in parts:
        for voice in "satb":
            write(root / song / "audio_16kHz" / f"{part}_{voice}{ending}.wav", 10.0)
    return root


def choralsynth(root, piece="piece", suffix=".flac"):
    for voice in ("soprano", "alto", "tenor", "bass"):
        path = root / piece / f"{voice}.wav"
        write(path, rate=32_000, channels=2)
        samples, rate = soundfile.read(path)
        path.unlink()
        soundfile.write(path.with_suffix(suffix), samples, rate)
    return root


def test_choral_singing_dataset(tmp_path):
    for folder in (csd(tmp_path / "CSD"), tmp_path / "CSD" / "Nino_Dios"):
        layout = data_layouts.find_layout(folder)
        assert (layout.kind, layout.missing) == ("csd", ())
        (piece,) = layout.pieces
        assert piece.name == "Nino_Dios"
        sections = ("Soprano", "ContraAlt", "tenor", "Bajos")
        for section, files in zip(sections, piece.voices, strict=True):
            assert [f.name for f in files] == [f"nino_{section}_{n}05.wav" for n in (1, 2)]


def test_parts_of_bach_chorales_and_the_reference_split(tmp_path):
    letters(tmp_path, "BC", ["1_BC001_part1_1", "1_BC001_part2_2", "2_BC002_part1_3"])
    layout = data_layouts.find_layout(tmp_path)
    assert layout.kind == "bcbsq"
    chosen = data_layouts.choose_pieces(layout.pieces, ["BC/1_BC001*"], ["*part2*"])
    assert [piece.name for piece in chosen] == ["BC/1_BC001_part1_1"]
    assert [files[0].name[-9:-4] for files in chosen[0].voices] == [f"{v}_1ch" for v in "satb"]


def test_cantoria(tmp_path):
    letters(tmp_path, "EJB1", ["Cantoria_EJB1"], ending="")
    layout = data_layouts.find_layout(tmp_path)
    assert (layout.kind, [p.name for p in layout.pieces]) == ("cantoria", ["EJB1"])


def test_choralsynth_and_what_is_missing(tmp_path):
    choralsynth(tmp_path, "whole")
    choralsynth(tmp_path, "part")
    (tmp_path / "part" / "alto.flac").unlink()
    layout = data_layouts.find_layout(tmp_path)
    assert (layout.kind, [p.name for p in layout.pieces]) == ("choralsynth", ["whole"])
    assert layout.missing == ("part has no alto",)


def test_mixtures_at_any_depth(tmp_path):
    write(tmp_path / "choir.wav")
    write(tmp_path / "more" / "choir.flac".replace("flac", "wav"))
    layout = data_layouts.find_layout(tmp_path)
    assert [(p.name, p.voices) for p in layout.pieces] == [("choir", ()), ("more/choir", ())]


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match="is not a folder"):
        data_layouts.find_layout(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="no layout that is known"):
        data_layouts.find_layout(tmp_path)


def test_slips_of_the_pen_are_refused(tmp_path):
    csd(tmp_path)
    (piece,) = data_layouts.find_layout(tmp_path).pieces
    with pytest.raises(DatasetError, match="no piece is called 'Nino'"):
        data_layouts.choose_pieces([piece], ["Nino"], [])
    with pytest.raises(DatasetError, match="2 recordings of the soprano"):
        data_layouts.choose_singers(piece, [3])
    two = data_layouts.choose_singers(piece, [2, 3])
    assert [f.name[-7:] for files in two.voices for f in files] == ["205.wav"] * 4


def test_decoded_once_and_again_when_the_content_changes(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", rate=32_000, channels=2)
    first = np.array(DecodedAudio().load(path))
    assert (first.dtype, first.shape) == (np.float32, (16_000,))
    moved = shutil.copy(path, tmp_path / "b.wav")
    with monkeypatch.context() as patched:
        patched.setattr("umss_jax.audio.cache.decode_16k", lambda *_: pytest.fail("decoded"))
        np.testing.assert_array_equal(DecodedAudio().load(moved), first)
    write(path, seed=1, rate=32_000, channels=2)
    assert not np.array_equal(DecodedAudio().load(path), first)


def test_decoding_16_khz_mono_changes_nothing(tmp_path):
    path = write(tmp_path / "a.wav")
    np.testing.assert_array_equal(DecodedAudio().load(path), soundfile.read(path, dtype="f4")[0])


def opened(root):
    return open_pieces(find_pieces(SetConfig(folders=(str(root),))), audio=AUDIO)


def test_pieces_that_are_few_are_sampled_often(tmp_path):
    for name in ("few", "many"):
        for number, voice in enumerate(VOICES):
            write(tmp_path / name / f"{voice}.wav", seed=number)
    pieces = opened(tmp_path)
    config = DataConfig(often=("f*",), often_times=9)
    plain, often = (
        [data.RandomMixes(pieces, 0, config=one, audio=AUDIO).example(i).name for i in range(60)]
        for one in (DataConfig(), config)
    )
    share = [np.mean(["few" in name for name in names]) for names in (plain, often)]
    assert share[0] == pytest.approx(0.5, abs=0.2)
    assert share[1] == pytest.approx(0.9, abs=0.1)


def test_random_mixes_are_cut_from_the_recordings(tmp_path):
    pieces = opened(csd(tmp_path))
    mixes = data.RandomMixes(pieces, seed=1, audio=AUDIO)
    chosen = set()
    for index in range(40):
        example = mixes.example(index)
        assert np.abs(example.mixture).max() == pytest.approx(1, rel=1e-6)
        np.testing.assert_allclose(example.sources.sum(axis=0), example.mixture, atol=1e-6)
        *_, start_s, _ = example.name.split()
        start = round(float(start_s) * 16_000)
        assert start % 256 == 0
        singers = example.name.split()[1:5]
        chosen.add(tuple(name[-3] for name in singers))
        raw = [
            soundfile.read(f, dtype="f4", start=start, frames=4096)[0]
            for name in singers
            for files in pieces[0].piece.voices
            for f in files
            if f.stem == name
        ]
        scale = example.mixture @ sum(raw) / (sum(raw) @ sum(raw))
        np.testing.assert_allclose(example.sources, scale * np.stack(raw), atol=1e-5)
    assert len(chosen) > 8  # of 16: voices are drawn independently


def test_a_batch_is_a_function_of_the_step_and_hosts_share_it(tmp_path):
    pieces = opened(csd(tmp_path))
    whole = data.RandomMixes(pieces, 1, audio=AUDIO).batch(7, 4)
    other = data.RandomMixes(pieces, 1, audio=AUDIO)
    other.batch(0, 4)
    halves = [other.batch(7, 4, rows) for rows in (range(2), range(2, 4))]
    np.testing.assert_array_equal(whole.mixture, np.concatenate([h.mixture for h in halves]))
    np.testing.assert_array_equal(whole.sources, np.concatenate([h.sources for h in halves]))
    assert whole.names == halves[0].names + halves[1].names
    assert whole.names != data.RandomMixes(pieces, 2, audio=AUDIO).batch(7, 4).names
    assert whole.names != other.batch(8, 4).names


def test_every_pass_visits_the_pool_once_in_its_own_order(tmp_path):
    mixes = data.RandomMixes(opened(csd(tmp_path)), 1, pool=10, audio=AUDIO)
    passes = [[mixes.slot(slot) for slot in range(first, first + 10)] for first in (0, 10)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(10))
    assert passes[0] != passes[1]


def test_long_pieces_give_more_examples(tmp_path):
    write(tmp_path / "short.wav", 1.0)
    write(tmp_path / "long.wav", 3.0)
    mixes = data.RandomMixes(opened(tmp_path), 3, audio=AUDIO)
    names = [mixes.example(index).name for index in range(400)]
    share = np.mean([name.startswith("long") for name in names])
    starts = [(s - 4096) // 256 + 1 for s in (16_000, 48_000)]
    expected = starts[1] / sum(starts)
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 400)


def test_silence_is_drawn_again_but_not_for_ever(tmp_path):
    samples = np.zeros(48_000, np.float32)
    samples[:12_000] = 0.1
    soundfile.write(tmp_path / "a.wav", samples, 16_000, "FLOAT")
    pieces = opened(tmp_path)
    mixes = data.RandomMixes(pieces, 0, audio=AUDIO)
    assert all(np.abs(mixes.example(i).mixture).max() == 1 for i in range(5))
    silent = [pieces[0]._replace(mixture=np.zeros(48_000, np.float32))]
    with pytest.raises(DatasetError, match="silent"):
        data.RandomMixes(silent, 0, audio=AUDIO).example(0)


def test_validation_excerpts_are_those_of_the_test_protocol(shared):
    """The package's own test excerpts, which were checked against the paper's list."""
    from umss_jax.data.excerpts import NINO_DIOS, csd_excerpts

    folder = shared / "datasets" / "ChoralSingingDataset"
    pieces = open_pieces(find_pieces(SetConfig((str(folder),), singers=(4,))), AudioConfig())
    got = data.validation_excerpts(pieces, audio=AudioConfig())
    wanted = list(csd_excerpts(folder, [NINO_DIOS], with_f0=False, audio=AudioConfig()))
    assert len(got) == len(wanted) == 24
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours.mixture, theirs.mixture, atol=1e-6)
        np.testing.assert_allclose(ours.sources, theirs.sources, atol=1e-6)


def test_validation_excerpts_of_parts_start_at_40_ms(tmp_path):
    folder = letters(tmp_path, "BC", ["1_BC001_1", "2_BC002_2"])
    pieces = open_pieces(find_pieces(SetConfig((str(folder),))), AudioConfig())
    names = [example.name for example in data.validation_excerpts(pieces, audio=AudioConfig())]
    # 0.04 // 0.016 and 4.04 // 0.016 frames of 16 ms
    assert [name.split(" at ")[1] for name in names] == ["0.032 s", "4.032 s"] * 2
    assert len(data.validation_excerpts(pieces, maximum=3, audio=AudioConfig())) == 3


def test_broken_and_short_recordings_are_named(tmp_path):
    csd(tmp_path)
    broken = tmp_path / "Nino_Dios" / "audio_16kHz" / "nino_tenor_105.wav"
    broken.write_bytes(b"RIFF")
    with pytest.raises(DatasetError, match=r"nino_tenor_105.*Nino_Dios"):
        opened(tmp_path)
    write(broken, 0.1)
    with pytest.raises(DatasetError, match=r"nino_tenor_105.wav has 1600 samples"):
        opened(tmp_path)


def test_no_folder_and_no_complete_piece(tmp_path):
    with pytest.raises(DatasetError, match=r"set data\.train\.folders"):
        find_pieces(SetConfig())
    write(tmp_path / "part" / "alto.wav")
    with pytest.raises(DatasetError, match="no complete piece"):
        find_pieces(SetConfig((str(tmp_path),)))


def test_supervision_needs_stems(tmp_path):
    write(tmp_path / "choir.wav")
    both = SetConfig((str(tmp_path),))
    with pytest.raises(DatasetError, match="has no stems"):
        data.open_sets(DataConfig(both, both), 0, with_sources=True, audio=AUDIO)


def test_check_says_what_is_there(tmp_path, capsys):
    choralsynth(tmp_path, "short")
    for voice in ("soprano", "alto", "tenor", "bass"):
        write(tmp_path / "long" / f"{voice}.wav", 13.0)
    (tmp_path / "gone").mkdir()
    write(tmp_path / "gone" / "alto.wav")
    assert run(["data", "check", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[:3] == [
        "layout: choralsynth, 2 complete pieces",
        "missing: gone has no soprano and no tenor and no bass",
        "long: 13.0 s, singers 1/1/1/1, 2 validation excerpts",
    ]
    assert "soprano.flac has 16000 samples" in err
    assert err.count("\n") == 1
    shutil.rmtree(tmp_path / "short")
    assert run(["data", "check", str(tmp_path)]) == 0
