"""Synthetic quartets: scores, exact F0, determinism, the layout that training reads."""

import itertools

import librosa
import numpy as np
import pytest
import soundfile

from umss_jax import cli
from umss_jax.chorales import render as chorale
from umss_jax.chorales.config import ChoraleConfig
from umss_jax.chorales.formants import (
    CONSONANTS,
    VOWELS,
    consonant_polynomial,
    line_spectrum,
    power_gain,
    vowel_polynomial,
)
from umss_jax.chorales.scores import embedded_scores, parse_scores
from umss_jax.config import VOICES, AudioConfig
from umss_jax.data.layouts import find_layout
from umss_jax.data.references import read_f0
from umss_jax.errors import DatasetError, UsageError

SHORT = ChoraleConfig(longest_s=9.0, singers_probability=(1.0,), dry_probability=1.0)


@pytest.fixture(scope="module")
def rendering():
    return chorale.render(embedded_scores()[0], 11, SHORT)


def test_embedded_scores_lie_in_the_ranges_of_the_voices():
    scores = embedded_scores()
    assert len(scores) >= 4
    ranges = ((59, 81), (53, 76), (47, 69), (38, 62))
    for score in scores:
        for notes, (lowest, highest) in zip(score.voices, ranges, strict=True):
            assert lowest <= min(note.midi for note in notes), score.title
            assert max(note.midi for note in notes) <= highest, score.title
            assert all(a.end <= b.start + 1e-9 for a, b in itertools.pairwise(notes))


def test_scores_say_what_is_wrong():
    four = "title: x\n" + "".join(f"{voice}: c4:1 d4\n" for voice in VOICES)
    assert parse_scores(four)[0].beats == 2
    with pytest.raises(DatasetError, match="has a note 'h4'"):
        parse_scores(four.replace("d4", "h4"))
    with pytest.raises(DatasetError, match="differ in length"):
        parse_scores(four.replace("bass: c4:1", "bass: c4:2"))
    with pytest.raises(DatasetError, match="no bass"):
        parse_scores(four.replace("bass: c4:1 d4\n", ""))


def test_flats_rests_and_breaths():
    text = "title: x\n" + "".join(f"{voice}: r:2 bb3:.5, c4\n" for voice in VOICES)
    first, second = parse_scores(text)[0].voices[0]
    assert (first.start, first.beats, first.midi, first.breath) == (2, 0.5, 58, True)
    assert (second.start, second.beats, second.midi, second.breath) == (2.5, 0.5, 60, False)


@pytest.mark.parametrize("voice", VOICES)
def test_vowels_resonate_at_their_formants(voice):
    for number, first_hz in ((0, (600, 800)), (2, (250, 350))):
        polynomial = vowel_polynomial(voice, np.eye(len(VOWELS))[number], 16_000, 20)
        hz = np.arange(100, 1_000)
        peak = hz[np.argmax(power_gain(polynomial, hz, 16_000))]
        assert first_hz[0] - 60 <= peak <= first_hz[1] + 60


@pytest.mark.parametrize("kind", CONSONANTS)
def test_line_spectrum_gives_the_polynomial_back(kind):
    from umss_jax.synth.all_pole import all_pole_coefficients

    polynomial = consonant_polynomial(kind, 16_000, 20, 1.0)
    frequencies = line_spectrum(polynomial)
    assert (np.diff(frequencies) > 0).all()
    back = np.asarray(all_pole_coefficients(frequencies.astype(np.float32)))
    np.testing.assert_allclose(back, polynomial[1:], atol=2e-4)


def test_stems_sum_to_a_mixture_of_known_peak(rendering):
    assert rendering.stems.dtype == np.float32
    assert np.isfinite(rendering.stems).all()
    assert np.abs(rendering.stems.sum(axis=0)).max() == pytest.approx(0.9, abs=1e-3)
    frames = rendering.stems.shape[1] // 256
    assert rendering.f0_hz_synth.shape == (4, frames + 1)
    assert rendering.singers == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "voice", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 3))]
)
def test_another_pitch_tracker_finds_the_exact_f0(rendering, voice):
    f0_hz = rendering.f0_hz_synth[voice]
    low, high = f0_hz[f0_hz > 0].min(), f0_hz.max()
    found, voiced, _ = librosa.pyin(
        rendering.stems[voice],
        fmin=low * 0.8,
        fmax=high * 1.25,
        sr=16_000,
        hop_length=256,
        frame_length=1024,
        resolution=0.02,
    )
    count = min(len(found), len(f0_hz))
    # Where both say voiced, away from the borders of notes that pyin's window straddles.
    both = voiced[:count] & (f0_hz[:count] > 0)
    assert both.sum() > 0.8 * (f0_hz[:count] > 0).sum()
    cents = 1200 * np.abs(np.log2(found[:count][both] / f0_hz[:count][both]))
    assert np.mean(cents < 20) >= 0.95


def test_a_seed_decides_every_sample(rendering):
    again = chorale.render(embedded_scores()[0], 11, SHORT)
    np.testing.assert_array_equal(again.stems, rendering.stems)
    np.testing.assert_array_equal(again.f0_hz_synth, rendering.f0_hz_synth)
    other = chorale.render(embedded_scores()[0], 12, SHORT)
    assert not np.array_equal(other.f0_hz_synth, rendering.f0_hz_synth)


def test_folder_is_one_that_training_reads(tmp_path, capsys):
    code = cli.run(["chorale", "make", "-n", "1", "-o", str(tmp_path), "--longest", "9", "-q"])
    assert code == 0
    folder = capsys.readouterr().out.strip()
    layout = find_layout(tmp_path)
    assert layout.kind == "choralsynth"
    assert [str(tmp_path / piece.name) for piece in layout.pieces] == [folder]
    assert not layout.missing
    for (file,) in layout.pieces[0].voices:
        samples, rate = soundfile.read(file)
        assert rate == 16_000
        f0_hz = read_f0(file, AudioConfig())
        assert len(f0_hz) == len(samples) // 256 + 1
        assert np.mean(f0_hz > 0) > 0.3


def test_a_set_goes_on_where_it_stopped(tmp_path):
    seconds = []
    first = chorale.make(tmp_path, 1, 3, config=SHORT, progress=lambda *_: seconds.append(1))
    again = chorale.make(tmp_path, 1, 3, config=SHORT, progress=lambda *_: seconds.append(1))
    assert first == again
    assert len(seconds) == 1


def test_unknown_scores_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no scores are called 'tune'"):
        chorale.make(tmp_path, 1, scores="tune")
