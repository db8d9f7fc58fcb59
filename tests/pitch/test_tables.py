"""F0 tables: what tools write, read as what it is or refused; and what this package writes."""

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umss_jax.config import VOICES
from umss_jax.errors import DatasetError
from umss_jax.pitch.tables import (
    multi_f0_rows,
    on_frames,
    read_arrays,
    read_table,
    read_track,
    read_voices,
    track_text,
    voice_rows,
    voices_header,
)

HOP_S = 0.016
# Every 10 ms: 200 Hz from 0 to 90 ms, nothing from 100 to 190 ms, 300 Hz from 200 to 300 ms.
ROWS = [(n / 100, 200.0 if n < 10 else 0.0 if n < 20 else 300.0) for n in range(31)]
# Frames at 0, 16 … 80 ms; 96 ms is nearest to 100 ms, 192 ms to 190 ms; the last is at 304 ms.
FRAMES = [200.0] * 6 + [0.0] * 7 + [300.0] * 7

PRAAT = "   --undefined--"


def comma(text):
    """With decimal commas; ``_`` stands for a comma between cells."""
    return text.replace(".", ",").replace("_", ",")


def lines(form, only_voiced=False):
    return "".join(form(time, hz) for time, hz in ROWS if hz or not only_voiced)


FORMATS = {
    "CREPE": "time,frequency,confidence\n"
    + lines(lambda t, hz: f"{t:.3f},{hz or 77:.3f},{0.9 if hz else 0.1:.6f}\n"),
    "CREPE without header": lines(lambda t, hz: f"{t:.3f},{hz or 77},{0.9 if hz else 0.1}\n"),
    "pYIN of librosa by pandas": "time,f0,voiced_flag,voiced_prob\n"
    + lines(lambda t, hz: f"{t},{hz or ''},{bool(hz)},{0.3 if hz else 0.01}\n"),
    "pYIN of librosa by numpy": "# time f0\n" + lines(lambda t, hz: f"{t:.18e} {hz or 'nan'}\n"),
    "Sonic Annotator": '"/choir, live/s.wav"' + lines(lambda t, hz: f",{t:.9f},{hz or -77:g}\n"),
    "Sonic Annotator without file": lines(lambda t, hz: f"{t:.9f},{hz or -77:g}\n"),
    "melodia": lines(lambda t, hz: f"{t}\t{hz or -77}\n"),
    "Sonic Visualiser": lines(lambda t, hz: f"{t:.9f},{hz:g},\n"),
    "Sonic Visualiser with header": "TIME,VALUE,LABEL\n"
    + lines(lambda t, hz: f'{t:.9f},{hz:g},"New, point"\n'),
    "Sonic Visualiser with labels and tabs": lines(lambda t, hz: f"{t:.9f}\t{hz:g}\tNew Point\n"),
    "Praat listing": "Time_s   F0_Hz\n"
    + lines(lambda t, hz: f"{t:.6f}{f'   {hz}' if hz else PRAAT}\n"),
    "Praat listing without header": lines(lambda t, hz: f"{t:.6f}{f'   {hz}' if hz else PRAAT}\n"),
    "Praat table": "Time (s)\tF0 (Hz)\n" + lines(lambda t, hz: f"{t}\t{hz or '--undefined--'}\n"),
    "mir_eval": "# melody\n" + lines(lambda t, hz: f"{t:.3f}\t{hz:.3f}\n"),
    "multi-F0 of one": lines(lambda t, hz: f"{t:.3f}\t{hz}\n" if hz else f"{t:.3f}\n"),
    "blanks and comments": lines(lambda t, hz: f"  {t:.3f}   {hz} \n\n% more\n"),
    "semicolons": "time; f0\n" + lines(lambda t, hz: f"{t};{hz}\n"),
    "any order": "confidence,level,hz,time\n"
    + lines(lambda t, hz: f"{float(hz > 0)},-3,{hz},{t}\n"),
    "milliseconds": "time (ms),frequency [Hz]\n" + lines(lambda t, hz: f"{1000 * t:.0f},{hz}\n"),
    "one voice by name": "time_s,alto\n" + lines(lambda t, hz: f"{t},{hz}\n"),
    "decimal commas and semicolons": "time;frequency\n" + lines(lambda t, hz: comma(f"{t};{hz}\n")),
    "decimal commas and tabs": lines(lambda t, hz: comma(f"{t}\t{hz}\n")),
    "decimal commas and blanks": lines(lambda t, hz: comma(f"{t:.3f}   {hz:.2f}\n")),
    "decimal commas in quotes": '"time","f0"\n' + lines(lambda t, hz: comma(f'"{t}"_"{hz}"\n')),
    "comments by semicolons": "; made by hand\n; 0.1 is the hop\n"
    + lines(lambda t, hz: f"{t} {hz}\n"),
    "comments by slashes": "// made by hand\n" + lines(lambda t, hz: f"{t},{hz}\n"),
    "semicolons without file": ";0;200\n" + lines(lambda t, hz: f";{t};{hz}\n" if t else ""),
    "everything in quotes": lines(lambda t, hz: f'"{t}","{hz}"\n'),
    "row numbers of pandas": ",time,f0,confidence\n"
    + lines(lambda t, hz: f"{round(100 * t)},{t},{hz},0.9\n"),
    "row numbers of Praat": "row\ttime(s)\tpitch(Hz)\tintensity(dB)\n"
    + lines(lambda t, hz: f"{round(100 * t) + 1}\t{t}\t{hz or '--undefined--'}\t60\n"),
    "missing by R": "time,f0\n" + lines(lambda t, hz: f"{t},{hz or 'NA'}\n"),
    "missing by an old C library": lines(lambda t, hz: f"{t},{hz or '-1.#IND'}\n"),
    "missing with its confidence": "time,f0,confidence\n"
    + lines(lambda t, hz: f"{t},{hz or 'nan'},{0.9 if hz else 'nan'}\n"),
    "milliseconds by name": "timestamp_ms;f0_hz\n" + lines(lambda t, hz: f"{1000 * t:g};{hz}\n"),
    "milliseconds in brackets": "Time [ms]\tF0 [Hz]\n"
    + lines(lambda t, hz: f"{1000 * t:g}\t{hz}\n"),
    "frequency and MIDI note": "time,midi,frequency\n" + lines(lambda t, hz: f"{t},60,{hz}\n"),
}
FORMATS_OF_VOICED = {
    "Tony": lines(lambda t, hz: f"{t:.9f},{hz}\n", only_voiced=True),
    "Tony with tabs": lines(lambda t, hz: f"{t:.9f}\t{hz}\n", only_voiced=True),
    "pYIN of Sonic Annotator": '"s.wav"'
    + lines(lambda t, hz: f",{t:.9f},{hz}\n", only_voiced=True),
    "Praat PitchTier as spreadsheet": lines(lambda t, hz: f"{t}\t{hz}\n", only_voiced=True),
}


@pytest.fixture
def at(tmp_path):
    """Writes a table."""

    def write(content):
        path = tmp_path / "x.f0.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("tool", FORMATS)
def test_what_a_tool_writes_is_read(tool, at):
    np.testing.assert_array_equal(read_track(at(FORMATS[tool]), HOP_S), FRAMES)


@pytest.mark.parametrize("tool", FORMATS_OF_VOICED)
def test_rows_that_are_left_out_are_unvoiced(tool, at):
    track = read_track(at(FORMATS_OF_VOICED[tool]), HOP_S)
    np.testing.assert_array_equal(track, FRAMES)


@pytest.mark.parametrize(
    "encoded",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: ("\n\n" + text).encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
)
@pytest.mark.parametrize("tool", ["CREPE", "CREPE without header"])
def test_marks_and_ends_of_lines_do_not_matter(tool, encoded, at):
    np.testing.assert_array_equal(read_track(at(encoded(FORMATS[tool])), HOP_S), FRAMES)


def test_confidence_counts_from_the_threshold_on(at):
    path = at("time,frequency,confidence\n0,200,0.4\n0.016,210,0.399\n0.032,220,0.7\n")
    np.testing.assert_array_equal(read_track(path, HOP_S), [200, 0, 220])
    np.testing.assert_array_equal(read_track(path, HOP_S, 0.5), [0, 0, 220])


@pytest.mark.parametrize("name", ["midi", "pitch_midi", "F0 (MIDI)", "midi note"])
def test_midi_notes_are_converted_where_a_name_says_so(name, at):
    path = at(f"time,{name}\n0,69\n0.016,57.5\n0.032,0\n0.048,nan\n")
    np.testing.assert_allclose(read_track(path, HOP_S), [440, 440 * 2 ** (-11.5 / 12), 0, 0])


@pytest.mark.parametrize("steps", [(1,), (0.99, 1.01)])
@pytest.mark.parametrize("spacing_s", [0.0058, 0.01, 0.016, 0.02322, 0.1])
def test_rows_left_out_say_the_same_as_rows_of_zero(spacing_s, steps, at):
    """A voiced row does not reach into what was left out."""
    times = np.cumsum(np.resize(steps, 60)) * spacing_s
    f0_hz = np.where(np.arange(60) // 12 % 2, 0.0, 200.0 + np.arange(60))
    whole, voiced = (
        "".join(f"{t:.6f},{hz:.1f}\n" for t, hz in zip(times, f0_hz, strict=True) if hz or keep)
        for keep in (True, False)
    )
    expected, found = read_track(at(whole), HOP_S), read_track(at(voiced), HOP_S)
    end = min(len(expected), len(found))
    assert np.count_nonzero(expected) > 0
    np.testing.assert_array_equal(found[:end], expected[:end])
    assert not expected[end:].any()


def test_several_pitches_at_a_time(at):
    table = read_table(at("0.00\t220.0\t440.0\n0.01\n0.02\t330.0\n0.03\t100\t0\t500\n"))
    assert (table.voices, table.confidence) == ((), None)
    expected = [[220, 0, 330, 100], [440, 0, 0, 0], [0, 0, 0, 500]]
    np.testing.assert_array_equal(table.f0_hz, expected)
    with pytest.raises(DatasetError, match="holds 3 pitches at a time: expected one voice"):
        read_track(at("0.00\t220.0\t440.0\n0.01\n0.03\t100\t0\t500\n"), HOP_S)


def test_voices_in_any_order(at):
    path = at("bass;tenor;time_s;alto;soprano\n1.5;2;0.000;3;0\n-1;nan;0.016;0;40\n")
    table = read_voices(path)
    np.testing.assert_array_equal(table.f0_hz, [[0, 40], [3, 0], [2, 0], [1.5, 0]])
    np.testing.assert_array_equal(table.time_s, [0, 0.016])
    with pytest.raises(DatasetError, match="holds soprano, alto, tenor, bass: expected one voice"):
        read_track(path, HOP_S)
    for text in ("time,soprano,alto,bass\n0,1,1,1\n", "time,f0\n0,100\n", "0,200,200,200,200\n"):
        with pytest.raises(DatasetError, match="has not the columns time_s, soprano, alto, tenor"):
            read_voices(at(text))


REFUSED = {
    "": "no rows",
    "# nothing\n": "no rows",
    "time,frequency\n": "no rows",
    "time,frequency\n0,1e308\n": "line 2, '0, 1e308': the F0 is no pitch",
    "time,frequency\n0,100\n\n0.1,inf\n": "line 4, .*the F0 is no pitch",
    "time,frequency\n0,-inf\n": "line 2, .*the F0 is no pitch",
    "time,frequency\n0,25000\n": "line 2, .*the F0 is no pitch",
    "time,frequency\n0,abc\n": "line 2, '0, abc': the F0 is no number",
    "time,frequency\n0,1_00\n": "line 2, .*the F0 is no number",
    "time,frequency\n0,\u0661\n": "line 2, .*the F0 is no number",
    "time,frequency\n0,\x1b[31m\n": r"line 2, '0, \\x1b\[31m': the F0 is no number",
    "time;frequency\n1.000,5;110\n": "line 2, .*the time is no number",
    "time,frequency\n-0.1,100\n": "line 2, .*the time is not within a day",
    "time,frequency\nnan,100\n": "line 2, .*the time is not within a day",
    "time,frequency\n1e308,100\n": "line 2, .*the time is not within a day",
    "time,frequency\ninf,100\n": "line 2, .*the time is not within a day",
    "time,frequency\n0,100\n0.2,100\n0.1,100\n": "line 4, .*not later than the one before",
    "time,frequency\n0,100\n0,100\n": "line 3, .*not later than the one before",
    "time,frequency\n0,100\n10,100\n20,100\n": "rows are 10 s apart",
    "time,frequency,confidence\n0,100\n": "line 2, '0, 100': expected were time, freq.*, conf",
    "time,frequency\n0,100,200\n": "line 2, '0, 100, 200': expected were time, frequency",
    "time,frequency,confidence\n0,100,87\n": "line 2, .*the confidence is not within 0 and 1",
    "time,frequency,confidence\n0,100,nan\n": "line 2, .*the confidence is not within 0 and 1",
    "frequency,confidence\n100,0.5\n": "line 1, .*the names of the columns tell 0 columns of time",
    "time,melody\n0,100\n": "line 1, .*tell 0 columns of F0",
    "time,f0,frequency\n0,100,100\n": "line 1, .*tell 2 columns of F0",
    "time,alto,alto\n0,100,100\n": "line 1, .*tell 2 columns of F0",
    "time,alto,f0\n0,100,100\n": "line 1, .*tell 2 columns of F0",
    "time,frequency,unvoiced\n0,100,1\n": "line 1, .*tell a column unvoiced",
    "time,frequency,confidence,periodicity\n0,100,1,1\n": "line 1, .*tell several confidences",
    "TIME,VALUE,DURATION,LEVEL,LABEL\n0,100,1,1,\n": "line 1, .*tell notes, .*duration",
    "FRAME,VALUE,LABEL\n0,100,\n": "line 1, .*tell time in another unit, frame",
    "100\n200\n": "line 1, '100': there is one column",
    "0,0.5\n0.1,0.6\n": "line 1, .*something else than F0.: name the columns",
    "100,0.0\n110,0.1\n": "something else than F0",
    "0,60\n0.01,62\n": "may be Hz or MIDI notes.: name the columns",
    "0,100,0\n0.01,100,0\n": "may be a confidence or a second F0.: name the columns",
    "0,100,0.2\n0.3,110,0.1\n": "may be a confidence or a duration.: name the columns",
    "0,100,0.2,0.8,\n0.3,110,0.1,0.8,\n": "something else than F0.: name the columns",
    "0,100\n256,100\n512,100\n": "rows are 256 s apart",
    "0.0," + ",".join(["100"] * 100): "there are 101 columns",
    '{"time": [0, 1]}\n': "is JSON",
    "Zeit,Hoehe\n0,100\n": "line 1, .*tell 0 columns of time",
    'File type = "ooTextFile"\nObject class = "PitchTier"\n': "is an object of Praat.*listing",
    'File type = "ooTextFile"\nObject class = "TextGrid"\n': "is an object of Praat.*listing",
    '"ooTextFile"\n"PitchTier"\n0 1 2\n0.1\t100\n': "is an object of Praat",
    "ooBinaryFile\x07PitchTier": "is an object of Praat",
    '<?xml version="1.0"?>\n<!DOCTYPE sonic-visualiser>\n<sv>': "is XML.*as CSV",
    "<sv><data>": "is XML.*as CSV",
    "BZh91AY&SY": "is compressed or a session of Sonic Visualiser or Tony",
    '{"annotations": []}': "is JSON",
    "[[0, 100], [0.1, 100]]": "is JSON",
    "@prefix dc: <http://purl.org/dc/elements/1.1/> .": "is RDF",
    "EST_File Track\nDataType ascii\nEST_Header_End\n0 1 100\n": "is a track of the Edinburgh",
    "MThd\0\0\0\6": "is MIDI, notes",
    "RIFF\0\0\0\0WAVE": "is audio",
    "fLaC\0\0\0\x22": "is audio",
    "PK\3\4": "is an archive of NumPy or a spreadsheet",
    b"\x93NUMPY\1\0": "is an array of NumPy",
    b"\1\2\0\0\0\3": "is no text",
    b"%PDF-1.7": "is no text",
    b"\x1f\x8b\x08": "is compressed or",
    "time,f0_midi,pitch_midi\n0,60,60\n": "tell 2 columns of F0",
    "time,pitch_cents\n0,1200\n": "tell F0 in another unit, pitch_cents",
    "Time (s)\tF0 (semitones re 1 Hz)\n0\t90\n": "tell F0 in another unit, f0_semitones_re_1_hz",
    "time,log_f0\n0,5.3\n": "tell F0 in another unit, log_f0",
    "time,f0 (mel)\n0,300\n": "tell F0 in another unit, f0_mel",
    "time,frequency_khz\n0,0.3\n": "tell F0 in another unit, frequency_khz",
    "time,pitch\n0,60\n0.1,62\n": "line 2, .*may be Hz or MIDI notes",
    "TIME,VALUE,LABEL\n0,60,\n0.1,62,\n": "line 2, .*may be Hz or MIDI notes",
    "time,f0\n0,5.3\n0.1,5.2\n": "line 2, .*may be Hz or MIDI notes or something else",
    "time (samples),f0\n0,100\n": "tell time in another unit, time_samples",
    "time_frames,f0\n0,100\n": "tell time in another unit, time_frames",
    "frame,f0\n0,100\n": "tell time in another unit, frame",
    "sample;f0\n0;100\n": "tell time in another unit, sample",
    "start_time_s,end_time_s,pitch_midi,velocity\n0,1,60,80\n": "tell notes, .*end_time_s",
    "start,end,pitch,velocity,instrument\n0,1,60,80,0\n": "tell notes, .*end",
    "onset,offset,frequency\n0,1,200\n": "tell notes, .*offset",
    "onset,duration,median_pitch\n0,1,200\n": "tell notes, .*duration",
    "time,f0,velocity\n0,200,80\n": "tell notes, .*velocity",
    "0.5,220.0,0.31,1,\n1.0,330.0,1.2,1,\n": "something else than F0",
    "0.5,220.0,0.31\n1.0,330.0,1.2\n": "something else than F0",
    "0.5\t0.31\t220\n1.0\t1.2\t330\n": "something else than F0",
    "0.0\n0.016\n0.032\n": "there is one column",
    "0,100\n10,100\n20,100\n": "rows are 10 s apart.*time_ms",
    "time,frequency\n0,1e400\n": "line 2, .*the F0 is no pitch",
    "time,frequency\n0:01.5,100\n": "line 2, .*the time is no number",
    "0,016,110,5\n0,032,110,5\n": "something else than F0",
    "time,frequency,confidence\n0,100,\n": "line 2, .*the confidence is not within 0 and 1",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_table_or_could_be_two_is_refused(text, at):
    path = at(text)
    with pytest.raises(DatasetError, match=REFUSED[text]) as caught:
        read_track(path, HOP_S)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message.isprintable()


def test_what_is_no_file_is_refused(tmp_path, at):
    with pytest.raises(DatasetError, match="nothing is not there"):
        read_table(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="is not a file"):
        read_table(tmp_path)
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(DatasetError, match="is not a file"):
        read_table(tmp_path / "zero")
    with pytest.raises(DatasetError, match="larger than 64 MiB"):
        read_table(at(b"0" * (64 * 2**20 + 1)))
    with pytest.raises(DatasetError, match="is not a table of pitches"):
        read_table(at(bytes(range(256)) * 40))


def test_pairs_of_arrays(tmp_path):
    frequency, confidence = tmp_path / "x_frequency.npy", tmp_path / "x_confidence.npy"

    def read(hz, certain):
        np.save(frequency, hz)
        np.save(confidence, certain)
        return read_arrays(frequency, confidence)

    track = read([100.0, 100.0, -100.0, np.nan], [0.4, 0.3, 1, 1])
    np.testing.assert_array_equal(track, [100, 0, 0, 0])
    for hz, certain in (
        ([100.0], [1.0, 1.0]),
        ([[100.0]], [[1.0]]),
        ([np.inf], [1.0]),
        ([100.0], [np.nan]),
        (["a"], [1.0]),
    ):
        with pytest.raises(DatasetError, match=r"x_frequency\.npy with .* is damaged"):
            read(np.asarray(hz), certain)
    confidence.write_bytes(b"")
    with pytest.raises(DatasetError, match="is damaged"):
        read_arrays(frequency, confidence)


# --- times


@pytest.mark.parametrize("frames", [1, 2, 251, 62_501])
def test_rows_of_frames_are_the_frames(frames):
    f0_hz = np.arange(frames) + 100.0
    times = np.round(np.arange(frames) * HOP_S, 3)
    np.testing.assert_array_equal(on_frames(times, f0_hz, HOP_S), f0_hz)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.007, 0.013), st.booleans()), min_size=2, max_size=60),
    st.floats(0.0, 1.0),
)
def test_frames_take_the_nearest_row_of_an_irregular_table(steps, start):
    times = start + np.cumsum([step for step, _ in steps])
    f0_hz = np.array([n + 100.0 if voiced else 0.0 for n, (_, voiced) in enumerate(steps)])
    frames = on_frames(times, f0_hz, HOP_S)
    for number, hz in enumerate(frames):
        away = np.abs(times - number * HOP_S)
        if times[0] <= number * HOP_S <= times[-1]:
            assert hz in f0_hz[np.isclose(away, away.min(), atol=1e-9)]
        else:
            assert hz in (0.0, f0_hz[0], f0_hz[-1])
    assert (len(frames) - 1) * HOP_S <= times[-1] + 0.013
    assert len(frames) * HOP_S > times[-1]


def test_coarse_and_rounded_times_leave_no_holes():
    coarse = np.arange(40) * 0.1
    assert (on_frames(coarse, np.full(40, 200.0), HOP_S) == 200).all()
    rounded = np.round(np.arange(400) * 1024 / 44_100, 2)
    assert (on_frames(rounded, np.full(400, 200.0), HOP_S) == 200).all()


# --- what is written

PITCH = st.one_of(st.just(0.0), st.floats(91.0, 1900.0))
TRACKS = st.integers(1, 40).flatmap(
    lambda n: st.lists(st.lists(PITCH, min_size=n, max_size=n), min_size=4, max_size=4)
)


@settings(deadline=None)
@given(tracks=TRACKS)
def test_voices_come_back(tracks, tmp_path_factory):
    f0_hz = np.array(tracks)
    times = np.arange(f0_hz.shape[1]) * HOP_S
    path = tmp_path_factory.mktemp("voices") / "f0.csv"
    path.write_text(voices_header() + voice_rows(times, f0_hz))
    table = read_voices(path)
    np.testing.assert_allclose(table.f0_hz, f0_hz, atol=5.1e-4)
    np.testing.assert_allclose(table.time_s, times, atol=1e-9)
    by_numpy = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    np.testing.assert_array_equal(by_numpy, np.vstack([table.time_s, table.f0_hz]).T)
    by_mir_eval = mir_eval.io.load_delimited(path, [float] * 5, delimiter=",", comment="time")
    np.testing.assert_array_equal(np.array(by_mir_eval), by_numpy.T)


@settings(deadline=None)
@given(tracks=TRACKS, decimals=st.sampled_from([1, 6]))
def test_a_voice_comes_back(tracks, decimals, tmp_path_factory):
    f0_hz = np.array(tracks[0])
    path = tmp_path_factory.mktemp("voice") / "alto.f0.csv"
    path.write_text(track_text(f0_hz, (f0_hz > 0).astype(float), HOP_S, decimals))
    np.testing.assert_allclose(read_track(path, HOP_S), f0_hz, atol=5.1e-4)
    by_numpy = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    by_mir_eval = mir_eval.io.load_delimited(path, [float] * 3, delimiter=",", comment="time")
    np.testing.assert_array_equal(np.array(by_mir_eval), by_numpy.T)


@settings(deadline=None)
@given(tracks=TRACKS)
def test_pitches_of_nobody_come_back(tracks, tmp_path_factory):
    f0_hz = np.array(tracks)
    times = np.arange(f0_hz.shape[1]) * HOP_S
    path = tmp_path_factory.mktemp("multi") / "f0.csv"
    path.write_text(multi_f0_rows(times, f0_hz))
    _, values = mir_eval.io.load_ragged_time_series(str(path))
    for frame, value in zip(f0_hz.T, values, strict=True):
        np.testing.assert_allclose(value, frame[frame > 0], atol=5.1e-4)
    if np.any(f0_hz > 0):
        table = read_table(path)
        for frame, value in zip(table.f0_hz.T, values, strict=True):
            np.testing.assert_array_equal(frame[frame > 0], value)


@settings(deadline=None)
@given(
    track=st.lists(PITCH, min_size=3, max_size=30),
    order=st.permutations(["time", "f0_hz", "confidence", "loudness"]),
    separator=st.sampled_from([",", "\t", ";", " ", ", "]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_named_columns_may_stand_anywhere(track, order, separator, ending, tmp_path_factory):
    cells = {
        "time": [f"{n * HOP_S:.4f}" for n in range(len(track))],
        "f0_hz": [repr(hz) for hz in track],
        "confidence": ["0.75" if hz else "0.25" for hz in track],
        "loudness": ["-12.5"] * len(track),
    }
    rows = [order, *zip(*(cells[name] for name in order), strict=True)]
    path = tmp_path_factory.mktemp("named") / "x.csv"
    path.write_bytes("".join(separator.join(row) + ending for row in rows).encode())
    np.testing.assert_array_equal(read_track(path, HOP_S), track)


def test_tables_are_as_they_were_written():
    """Byte for byte: other programs read them."""
    times, f0_hz = np.array([0.0, 0.016]), np.array([[440.0, 0.0], [1.23456, 0.0]])
    assert voices_header(VOICES[:2]) == "time_s,soprano,alto\n"
    assert voice_rows(times, f0_hz) == "0.000,440.000,1.235\n0.016,0,0\n"
    assert multi_f0_rows(times, f0_hz) == "0.000\t440.000\t1.235\n0.016\n"
    text = track_text(f0_hz[0], np.array([1.0, 0.0]), HOP_S, decimals=1)
    assert text == "time,frequency,confidence\n0.000,440.000,1.0\n0.016,0.000,0.0\n"
