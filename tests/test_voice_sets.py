"""Ensembles by name, by list and by file, and what is none."""

import pytest

from umss_jax.config import VOICES, VoicesConfig
from umss_jax.errors import UsageError
from umss_jax.voice_sets import PRESETS, as_voices, parse_voices


def test_the_usual_voices_are_the_default():
    for text in ("satb", "SATB", "4", "soprano,alto,tenor,bass"):
        assert parse_voices(text) == VoicesConfig()
    assert VoicesConfig().names == VOICES
    assert as_voices(None) is None
    assert as_voices(["alto", "bass"]) == parse_voices("alto,bass")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ttbb", "tenor1 tenor2 bass1 bass2"),
        ("ssaa", "soprano1 soprano2 alto1 alto2"),
        ("ssatb", "soprano1 soprano2 alto tenor bass"),
        ("sab", "soprano alto baritone"),
        ("duet", "voice1 voice2"),
        ("2", "voice1 voice2"),
        ("ssaattbb", "soprano1 soprano2 alto1 alto2 tenor1 tenor2 bass1 bass2"),
        ("6", "voice1 voice2 voice3 voice4 voice5 voice6"),
        ("Sopran, Alt , Bariton", "Sopran Alt Bariton"),
        ("T1,T2,B1,B2", "T1 T2 B1 B2"),
    ],
)
def test_presets_and_lists(text, names):
    voices = parse_voices(text)
    assert voices.names == tuple(names.split())
    assert list(voices.lowest_notes) == sorted(voices.lowest_notes, reverse=True)
    assert list(voices.highest_notes) == sorted(voices.highest_notes, reverse=True)


@pytest.mark.parametrize("preset", PRESETS)
def test_named_presets_are_there(preset):
    assert 2 <= len(parse_voices(preset)) <= 8


def test_other_names_of_the_same_voices_are_the_same_ensemble():
    assert parse_voices("sopran,alt,tenor,bass").is_usual
    assert not parse_voices("ttbb").is_usual
    assert parse_voices("T1,T2,B1,B2").are_those_of(parse_voices("ttbb"))
    assert not parse_voices("sab").are_those_of(parse_voices("sat"))


def test_a_file_names_voices_and_ranges(tmp_path):
    path = tmp_path / "ours.toml"
    path.write_text('cantus = ["C4", "F#5"]\n"quintus-2" = [55, "Bb4"]\n"сопрано" = ["E2", 60]\n')
    voices = parse_voices(str(path))
    assert voices.names == ("cantus", "quintus-2", "сопрано")
    assert voices.lowest_notes == (60, 55, 40)
    assert voices.highest_notes == (78, 70, 60)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quintet", "no ensemble is called 'quintet'"),
        ("", "no ensemble is called ''"),
        ("soprano", "1 voice is asked for"),
        ("s", "1 voice is asked for"),
        ("1", "1 voice is asked for"),
        ("9", "9 voices are asked for"),
        ("ssssaaattb", "10 voices are asked for"),
        ("soprano," * 8 + "bass", "9 voices are asked for"),
        ("btas", "from the highest to the lowest"),
        ("alto,soprano", "not below that of alto"),
        ("alto,Alto", "two voices are called alto"),
        ("../x,alto", "range of a voice '../x' is not known"),
        ("alto,", "range of a voice '' is not known"),
        ("/dev/null.toml", "cannot be read|names no voices"),
        ("nowhere.toml", "cannot be read"),
    ],
)
def test_what_is_no_ensemble_is_refused_in_one_line(text, words):
    with pytest.raises(UsageError, match=words) as refused:
        parse_voices(text)
    assert "\n" not in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no voices"),
        ("high = [", "names no voices"),
        ('high = "C4"\nlow = ["C3", "C4"]', "'high' has no range"),
        ('high = ["C4", "H5"]\nlow = ["C3", "C4"]', "'H5' in the range of 'high' is no note"),
        ("high = [60, 200]\nlow = [40, 60]", "200 in the range of 'high' is no note"),
        ("high = [60, true]\nlow = [40, 60]", "True in the range"),
        ("high = [72, 60]\nlow = [40, 60]", "range of high is empty"),
        ("high = [60, 60]\nlow = [40, 60]", "range of high is empty"),
        ("high = [40, 80]\nlow = [50, 60]", "range of low .* is not below"),
        ("high = [60, 80]", "1 voice is asked for"),
        ("\n".join(f"v{n} = [50, 60]" for n in range(9)), "9 voices"),
        ("high = [60, 80]\nhigh = [50, 60]", "names no voices"),
        ("high = [60, 80]\nHIGH = [50, 60]", "two voices are called high"),
        ('"a/b" = [60, 80]\nlow = [50, 60]', "'a/b' is no name of a voice"),
        ('".." = [60, 80]\nlow = [50, 60]', "is no name of a voice"),
        ('"" = [60, 80]\nlow = [50, 60]', "is no name of a voice"),
        ('"two words" = [60, 80]\nlow = [50, 60]', "is no name of a voice"),
        ("residual = [60, 80]\nlow = [50, 60]", "no voice can be called 'residual'"),
        ("CON = [60, 80]\nlow = [50, 60]", "no voice can be called 'CON'"),
        ("low_missing = [60, 80]\nlow = [50, 60]", "no voice can be called"),
        ("a." * 40 + "b = 1", "names no voices"),
        ("a = [" * 40 + "1" + "]" * 40, "names no voices"),
    ],
)
def test_files_that_name_no_ensemble(tmp_path, text, words):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as refused:
        parse_voices(str(path))
    assert "bad.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", [7, 1.5, b"satb", [1, 2], {"a": 1}])
def test_arguments_of_other_types_are_refused(given):
    with pytest.raises(UsageError):
        as_voices(given)
