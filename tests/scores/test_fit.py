"""A score beside a performance whose every note is known: times, pitches, and where they fail."""

import numpy as np
import pytest
from sung_score import FRAME_S, LOWEST, performance, piece, write_midi

from umss_jax.config import Chain, ModelConfig, with_chain
from umss_jax.errors import ScoreError
from umss_jax.scores.aligned import NOWHERE
from umss_jax.scores.config import AlignmentConfig
from umss_jax.scores.evidence import gather_evidence
from umss_jax.scores.fit import fit_score, open_score

MODEL = with_chain(ModelConfig(), Chain.IMPROVED)
ROWS = piece(60)
BEATS = max(notes[-1][1] for notes in ROWS.values())


@pytest.fixture(scope="module")
def score(tmp_path_factory):
    return open_score(write_midi(tmp_path_factory.mktemp("score") / "a.mid", ROWS))


def swapped(f0_hz):
    """What networks may say that find the pitches and mistake the voices."""
    return f0_hz[::-1].astype(np.float32)


def fitted(score, sung, own=None):
    salience, f0_hz = sung
    return fit_score(score, salience, swapped(f0_hz) if own is None else own, MODEL, "x.wav")


def accuracy(fit, f0_hz):
    voiced = f0_hz > 0
    with np.errstate(divide="ignore"):
        cents = 1200 * np.abs(np.log2(fit.f0_hz_synth / np.where(voiced, f0_hz, 1)))
    return (cents[voiced] < 25).mean()


def onset_errors_s(fit, at_s):
    """Of all notes that are in the recording."""
    return np.concatenate(
        [
            notes.onset[is_there] * FRAME_S
            - [at_s(beat) for beat in voice.part.onset_beats[notes.note[is_there]]]
            for notes, voice in zip(fit.notes, fit.cast.voices, strict=True)
            for is_there in [notes.onset != NOWHERE]
        ]
    )


def steady(per_minute, lead_s=1.0):
    return lambda beat: lead_s + beat * 60 / per_minute


def rubato(beat):
    """Between 80 and 170 quarter notes a minute, slowly changing."""
    return 0.7 + 0.5 * (beat + 3.0 * np.sin(beat / 9.0))


@pytest.mark.parametrize(
    ("semitones", "at_s"),
    [(0, steady(120)), (2, steady(84)), (-4, steady(168, 3.0)), (0.35, rubato), (3.7, rubato)],
)
def test_notes_are_found(score, semitones, at_s):
    sung = performance(ROWS, at_s, at_s(BEATS) + 1.5, semitones)
    fit = fitted(score, sung)
    assert fit.reading.transposition + fit.tuning_semitones == pytest.approx(semitones, abs=0.05)
    errors = np.abs(onset_errors_s(fit, at_s))
    assert np.median(errors) <= FRAME_S
    assert np.percentile(errors, 95) <= 0.1
    assert accuracy(fit, sung[1]) > 0.97
    assert fit.followed > 0.99
    assert fit.confidence > 0.9
    assert all(used.all() for used in fit.is_used)
    assert fit.warning("x.wav") is None


def test_a_choir_that_sinks_is_followed():
    frames = 12_000
    sinking = np.linspace(0, -1.6, frames)
    place = 60 * np.log2(440 * 2 ** (sinking / 12) / MODEL.hcqt.fmin_hz)
    bins = np.arange(MODEL.hcqt.bins)[:, None]
    salience = np.exp(-0.5 * np.square((bins - place) / 1.2)).astype(np.float32)
    evidence = gather_evidence(salience, MODEL.hcqt, AlignmentConfig(), FRAME_S)
    change = evidence.tuning_semitones[-1] - evidence.tuning_semitones[0]
    assert change == pytest.approx(-1.6, abs=0.25)
    assert evidence.heard.min(axis=1).max() > 0.5


def test_a_section_that_is_left_out_is_nowhere(score):
    first, last = BEATS * 0.4, BEATS * 0.6

    def at_s(beat):
        return 1 + (min(beat, first) + max(beat - last, 0)) * 0.5

    kept = {
        voice: [one for one in notes if one[1] <= first or one[0] >= last]
        for voice, notes in ROWS.items()
    }
    fit = fitted(score, performance(kept, at_s, at_s(BEATS) + 1))
    lost = [
        voice.part.onset_beats[notes.note[notes.onset == NOWHERE]]
        for notes, voice in zip(fit.notes, fit.cast.voices, strict=True)
    ]
    lost = np.concatenate(lost)
    assert len(lost) > 8
    assert lost.min() >= first - 2
    assert lost.max() < last
    assert np.percentile(np.abs(onset_errors_s(fit, at_s)), 90) < 0.1


def test_a_section_that_is_sung_twice_is_there_twice(score):
    first, last = BEATS * 0.3, BEATS * 0.6
    whole = {voice: [one for one in notes if one[1] <= last] for voice, notes in ROWS.items()}
    again = {voice: [one for one in notes if one[0] >= first] for voice, notes in ROWS.items()}
    one = performance(whole, steady(120), 1 + last / 2)
    other = performance(again, steady(120, -first / 2), (BEATS - first) / 2 + 1)
    sung = tuple(np.concatenate(pair, axis=1) for pair in zip(one, other, strict=True))
    fit = fitted(score, sung)
    assert accuracy(fit, sung[1]) > 0.95
    note = fit.notes[0].note
    twice = np.flatnonzero(np.bincount(note) == 2)
    onsets = fit.cast.voices[0].part.onset_beats[twice]
    assert len(twice) >= 5
    assert onsets.min() >= first - 1
    assert onsets.max() <= last


def test_a_wrong_page_is_named_and_left_to_the_networks(tmp_path):
    random = np.random.default_rng(1)
    first, last = BEATS * 0.4, BEATS * 0.7
    wrong = {
        voice: [
            (a, b, p + int(random.choice([-6, -3, -1, 1, 4, 6])) if first <= a < last else p)
            for a, b, p in notes
        ]
        for voice, notes in ROWS.items()
    }
    sung = performance(ROWS, steady(120), BEATS / 2 + 2)
    own = sung[1].astype(np.float32)  # right, unlike the score
    fit = fitted(open_score(write_midi(tmp_path / "w.mid", wrong)), sung, own)
    ((start_s, end_s),) = fit.poor_stretches_s()
    assert start_s == pytest.approx(1 + first / 2, abs=2.0)
    assert end_s == pytest.approx(1 + last / 2, abs=2.0)
    assert accuracy(fit, sung[1]) > 0.93
    middle = slice(round((start_s + 1) / FRAME_S), round((end_s - 1) / FRAME_S))
    np.testing.assert_array_equal(fit.f0_hz_synth[:, middle], own[:, middle])
    line = fit.warning("x.wav")
    assert f"{int(start_s) // 60}:{int(start_s) % 60:02d} to" in line
    assert line.isprintable()


def test_another_piece_is_refused(tmp_path):
    other = open_score(write_midi(tmp_path / "other.mid", piece(60, seed=9)))
    with pytest.raises(ScoreError, match=r"x\.wav: score .*other\.mid fits \d+ % of it"):
        fitted(other, performance(ROWS, steady(120), BEATS / 2 + 2))


def test_silence_and_short_recordings_are_refused_too(score):
    for frames in (1, 3, 500):
        silent = np.zeros((360, frames), np.float32)
        with pytest.raises(ScoreError):
            fit_score(score, silent, np.zeros((4, frames)), MODEL, "x.wav")


def test_rests_are_rests_and_f0_lies_between_bins(tmp_path):
    rows = {voice: [(0, 2, low + 5), (4, 6, low + 7)] for voice, low in LOWEST.items()}
    rows["alto"] = [(0, 6, 62)]
    sung = performance(rows, steady(60), 8.0, semitones=0.07)
    strange = np.full((4, 500), 300.0)  # where it sounds of nothing
    fit = fitted(open_score(write_midi(tmp_path / "a.mid", rows)), sung, strange)
    frames = {beat: round((1 + beat) / FRAME_S) for beat in (1, 3, 5)}
    assert fit.f0_hz_synth[0, frames[3]] == 0
    for beat in (1, 5):
        found = fit.f0_hz_synth[:, frames[beat]]
        cents = 1200 * np.log2(found / sung[1][:, frames[beat]])
        assert np.abs(cents).max() < 3  # bins are 20 cents apart


def test_what_clearly_contradicts_the_score_is_believed(tmp_path):
    """One voice sings another note than written, one where a rest is written."""
    rows = {
        voice: [(b, b + 2, low + 5 + b % 3) for b in range(0, 20, 2)]
        for voice, low in LOWEST.items()
    }
    sung_rows = {voice: list(notes) for voice, notes in rows.items()}
    sung_rows["soprano"][4] = (8, 10, rows["soprano"][4][2] + 4)
    written = {**rows, "bass": rows["bass"][:5] + rows["bass"][6:]}
    sung = performance(sung_rows, steady(120), 12.0)
    own = sung[1].astype(np.float32)
    fit = fitted(open_score(write_midi(tmp_path / "a.mid", written)), sung, own)
    assert accuracy(fit, sung[1]) > 0.98
    assert fit.is_used[0].sum() == 9
    assert fit.followed > 0.9


def test_voices_may_begin_a_little_apart(tmp_path):
    lags = {"soprano": 0.0, "alto": 0.1, "tenor": -0.1, "bass": 0.05}
    sung = [
        performance({voice: ROWS[voice]}, steady(120, 1 + lag), BEATS / 2 + 2)
        for voice, lag in lags.items()
    ]
    salience = np.max([one[0] for one in sung], axis=0)
    f0_hz = np.concatenate([one[1] for one in sung])
    fit = fitted(open_score(write_midi(tmp_path / "a.mid", ROWS)), (salience, f0_hz))
    assert accuracy(fit, f0_hz) > 0.95
    for notes, voice, lag in zip(fit.notes, fit.cast.voices, lags.values(), strict=True):
        expected = 1 + lag + voice.part.onset_beats[notes.note] / 2
        assert np.median(notes.onset * FRAME_S - expected) == pytest.approx(0, abs=0.02)


def test_a_note_begins_after_its_consonant(tmp_path):
    """120 ms without a pitch, at every beginning; also where a pitch is repeated."""
    parts, lag_s = [], 0.12
    for voice, notes in ROWS.items():
        salience, f0_hz = performance({voice: notes}, steady(120), BEATS / 2 + 2)
        for onset, *_ in notes:
            begin = round((1 + onset / 2) / FRAME_S)
            salience[:, begin : begin + round(lag_s / FRAME_S)] = 0
        parts.append((salience, f0_hz))
    salience = np.max([one[0] for one in parts], axis=0)
    f0_hz = np.concatenate([one[1] for one in parts])
    fit = fitted(open_score(write_midi(tmp_path / "a.mid", ROWS)), (salience, f0_hz))
    errors = onset_errors_s(fit, steady(120))
    assert np.median(errors) == pytest.approx(lag_s, abs=0.02)
    for notes in fit.notes:  # nothing rests meanwhile
        assert np.median(notes.onset[1:] - notes.offset[:-1]) == 0


def test_an_hour_stays_within_memory():
    from umss_jax.scores.alignment import _group
    from umss_jax.scores.evidence import Evidence
    from umss_jax.scores.notes import Score, part_of
    from umss_jax.scores.parts import cast_voices

    rows = [(n, n + 1, n / 2, (n + 1) / 2, 60, 1, 1) for n in range(7200)]
    parts = tuple(part_of(voice, rows) for voice in LOWEST)
    cast = cast_voices(Score(parts, "written"), "x")
    frames = 225_000
    evidence = Evidence(np.broadcast_to(np.float32(0), (128, frames)), np.zeros(0))
    config = AlignmentConfig()
    group = _group(evidence, cast, 1.0, config.course_frames, config, FRAME_S)
    assert (frames / group) ** 2 <= config.most_cells
    assert group <= 16


def test_pitches_at_the_ends_of_the_keyboard(tmp_path):
    high = {voice: [(b, b + 1, 124 + b % 4) for b in range(8)] for voice in LOWEST}
    low = {voice: [(b, b + 1, b % 4) for b in range(8)] for voice in LOWEST}
    salience = np.zeros((360, 600), np.float32)
    salience[[0, 359]] = 0.9
    for name, rows in (("high", high), ("low", low)):
        score = open_score(write_midi(tmp_path / f"{name}.mid", rows))
        with pytest.raises(ScoreError):
            fit_score(score, salience, np.zeros((4, 600)), MODEL, "x.wav")
