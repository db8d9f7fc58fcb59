"""What stands on the pages, how large they are, and what is said where something is missing."""

import base64
import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
import soundfile
from page_sounds import sounds
from PIL import Image
from separation_folder import add_salience, add_targets, make_separation

from umss_jax.cli import run
from umss_jax.config import VOICES
from umss_jax.errors import AudioError, OutputError, ReportError
from umss_jax.evaluate import metrics
from umss_jax.report.config import ReportConfig
from umss_jax.report.images import (
    PitchAxis,
    clock,
    pitch_axis,
    pitch_path,
    png_mask,
    salience_mask,
    spectrogram_db,
    time_ticks,
)
from umss_jax.report.page import write_reports
from umss_jax.report.separation import Sources
from umss_jax.report.sounds import PageAudio, choose_audio, encode


@pytest.fixture
def folder(tmp_path):
    return make_separation(tmp_path)


def page_of(source, **options):
    (written,) = write_reports(source, **options)
    assert written.megabytes == pytest.approx(written.path.stat().st_size / 1e6)
    return written.path.read_text(encoding="utf-8")


def named(page):
    """Sounds by the name of their row."""
    return dict(sounds(page))


def decoded(address):
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3] / 255


def test_a_separation_has_all_its_sounds_and_the_mixture_is_the_recording(folder, tmp_path):
    heard = named(page_of(folder))
    assert list(heard) == ["Mixture", "Soprano", "Alto", "Tenor", "Bass", "Residual"]
    recording, _ = soundfile.read(tmp_path / "song.wav", always_2d=True)
    step = 1 / 32768
    assert np.abs(heard["Mixture"] - recording).max() <= step
    for voice in VOICES:
        stem, _ = soundfile.read(folder / f"{voice}.wav", always_2d=True)
        assert np.abs(heard[voice.capitalize()] - stem).max() <= step


def test_a_page_asks_for_nothing_from_outside(folder):
    add_targets(folder)
    add_salience(folder)
    page = page_of(folder)
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]{1,20})""", page)
    assert addresses
    assert {address[:5] for address in addresses} == {"data:"}
    assert "http:" not in page
    assert "https:" not in page
    assert "default-src 'none'" in page


def test_targets_come_at_the_level_they_have_in_the_mixture(folder):
    add_targets(folder, gain=0.3)
    page = page_of(folder)
    heard = named(page)
    assert list(heard)[1:5] == ["Soprano", "Soprano, target", "Alto", "Alto, target"]
    for voice in ("Soprano", "Bass"):
        # The residual of a noise is small at 16 kHz, so the fit is close, not exact.
        assert np.abs(heard[voice] - heard[f"{voice}, target"]).max() < 1e-3
    assert page.count("Seconds</th>") == 1


def test_scores_are_those_of_the_protocol(folder):
    add_targets(folder)
    noise = np.random.default_rng(0).normal(0, 0.02, 48_000)
    bass, _ = soundfile.read(folder / "bass.wav")
    soundfile.write(folder / "targets" / "bass.wav", bass + noise, 16_000, subtype="FLOAT")
    page = page_of(folder)
    expected = metrics.separation_scores(bass + noise, bass).si_sdr_db.mean()
    row = re.search(r'<th scope="row">Bass</th><td>(-?[\d.−]+) / ', page)
    assert float(row[1].replace("−", "-")) == pytest.approx(expected, abs=0.02)


def test_one_missing_target_is_left_out(folder):
    add_targets(folder)
    (folder / "targets" / "alto.wav").unlink()
    heard = named(page_of(folder))
    assert "Tenor, target" in heard
    assert "Alto, target" not in heard


def test_only_a_part_where_asked(folder, tmp_path):
    add_salience(folder)
    heard = named(page := page_of(folder, sources=Sources(start_s=0.5, duration_s=1.25)))
    recording, _ = soundfile.read(tmp_path / "song.wav", always_2d=True)
    assert {len(audio) for audio in heard.values()} == {20_000}
    assert np.abs(heard["Mixture"] - recording[8_000:28_000]).max() < 1e-4
    settings = json.loads(re.search(r'id="settings">(.*?)</script>', page)[1])
    assert settings["start"] == 0.5
    assert settings["duration"] == 1.25
    assert len(settings["pitches"][0]["hz"]["alto"]) == pytest.approx(1.25 * 62.5, abs=1)


def test_titles_are_text_and_not_markup(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["input"]["file"] = "</script><b>&'song.wav"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    page = page_of(folder)
    assert "<b>" not in page
    assert "&lt;/script&gt;&lt;b&gt;&amp;" in page


def test_other_rates_and_channels(tmp_path):
    folder = make_separation(tmp_path, 1.5, 96_000, 3)
    page = page_of(folder)
    assert '"rate":48000' in page
    heard = named(page)
    assert {audio.shape for audio in heard.values()} == {(72_000, 1)}


def test_long_recordings_are_mp3_and_the_longest_refused():
    hour = {"sample_rate_hz": 44_100, "channels": 1, "sounds": 6}
    assert choose_audio("song", duration_s=12, **hour).lossless
    assert not choose_audio("song", duration_s=300, **hour).lossless
    with pytest.raises(ReportError, match=r"about \d+ MB for 7200 s .*--seconds (\d+)") as error:
        choose_audio("song", duration_s=7200, **hour)
    seconds = float(re.search(r"--seconds (\d+)", str(error.value))[1])
    assert not choose_audio("song", duration_s=seconds, **hour).lossless
    assert choose_audio("song", duration_s=1, sample_rate_hz=192_000, channels=6, sounds=6) == (
        PageAudio(True, 48_000, 1)
    )


def test_estimates_of_size_are_near_and_mp3_keeps_time():
    time_s = np.arange(5 * 16_000) / 16_000
    tone = sum(np.sin(2 * np.pi * 220 * k * time_s) / k for k in range(1, 20))
    audio = (0.1 * tone * (0.4 + np.sin(3 * time_s) ** 2))[:, None]
    page = PageAudio(False, 16_000, 1)
    data = base64.b64decode(encode(audio, page))
    assert len(data) / len(audio) < 0.5
    back, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    assert rate == 16_000
    assert abs(len(back) - len(audio)) <= 1152
    assert np.corrcoef(back[:60_000, 0], audio[:60_000, 0])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("lossless", "kind"), [(True, ("FLAC", "PCM_16")), (False, ("MP3", "MPEG_LAYER_III"))]
)
def test_sounds_are_encoded_by_blocks_as_at_once_and_say_how_far_they_are(lossless, kind):
    audio = np.random.default_rng(2).normal(0, 0.1, (12 * 8_000, 2)).clip(-0.9, 0.9)
    told = []
    data = base64.b64decode(encode(audio, PageAudio(lossless, 8_000, 2), advance=told.append))
    assert told == pytest.approx([5 / 12, 10 / 12, 1.0])
    at_once = io.BytesIO()
    form = {} if lossless else {"bitrate_mode": "VARIABLE"}
    level = {} if lossless else {"compression_level": ReportConfig().mp3_compression}
    soundfile.write(at_once, audio, 8_000, format=kind[0], subtype=kind[1], **form, **level)
    heard = [soundfile.read(io.BytesIO(one))[0] for one in (data, at_once.getvalue())]
    np.testing.assert_array_equal(*heard)


def test_a_page_says_how_far_it_is(folder):
    told = []
    write_reports(folder, advance=told.append)
    assert told == pytest.approx([n / 6 for n in range(1, 7)])  # mixture, voices, residual


def test_a_page_in_mp3(folder):
    config = ReportConfig(lossless_megabytes=0.0)
    page = page_of(folder, config=config)
    assert page.count('data-sound="audio/mpeg"') == 6


def test_a_page_above_the_limit_is_not_written(folder):
    with pytest.raises(ReportError, match=r"would be [\d.]+ MB .*--start and --seconds"):
        write_reports(folder, config=ReportConfig(most_megabytes=0.47))
    assert not (folder / "report.html").exists()
    assert not list(folder.glob(".*"))


def test_own_pages_are_replaced_and_others_kept(folder):
    page_of(folder)
    page_of(folder)
    (folder / "report.html").write_text("<p>mine")
    with pytest.raises(OutputError, match="no report of ours: move it away"):
        write_reports(folder)
    assert (folder / "report.html").read_text() == "<p>mine"


# --- what is said where something is missing


def test_missing_and_foreign_files_are_named(folder, tmp_path):
    def error(source=folder, **options):
        with pytest.raises((ReportError, AudioError)) as caught:
            write_reports(source, Sources(**options) if options else None)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert error(tmp_path / "nowhere").endswith("nowhere does not exist: check the path")
    text = error(tmp_path)
    assert "neither a separation (manifest.json) nor an evaluation" in text
    assert f"such as {folder}" in error(folder.parent)
    assert f"such as {folder}" in error(folder.parents[1])
    assert "is not a folder" in error(targets=tmp_path / "song.wav")
    assert "holds no soprano" in error(targets=tmp_path)
    assert "ends at 3.00 s, before --start 7" in error(start_s=7.0)
    missing = tmp_path / "x.npz"
    assert f"{missing} is not there: make it with umss-jax f0" in error(salience=missing)
    assert "song.wav holds no salience" in error(salience=tmp_path / "song.wav")
    add_salience(folder, seconds=9.0)
    assert "covers 8.99 s, the stems 3.00 s" in error()
    (folder / "song.salience.npz").unlink()
    add_targets(folder)
    soundfile.write(folder / "targets" / "alto.wav", np.zeros(64_000), 16_000)
    assert "alto.wav is 4.00 s long, the stems 3.00 s: cut it" in error()
    shutil.rmtree(folder / "targets")
    soundfile.write(folder / "alto.wav", np.zeros(64_000), 16_000)
    assert "alto.wav differs from" in error()
    (folder / "alto.wav").write_bytes(b"no sound")
    assert "alto.wav is not audio that can be decoded" in error()
    (folder / "alto.wav").unlink()
    assert "alto.wav is not there: separate the recording again" in error()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("f0.csv", None, "f0.csv is not there"),
        ("f0.csv", "time_s,soprano\n0,1\n", "has not the columns"),
        ("f0.csv", "time_s,soprano,alto,tenor,bass\nx,1,1,1,1\n", "is not a table of pitches"),
        ("manifest.json", "[]", "is not the manifest of a separation"),
        ("manifest.json", '{"input": {"file": "a"}, "outputs": []}', "names no soprano, alto"),
    ],
)
def test_damaged_tables_are_named(folder, file, content, message):
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(ReportError, match=message):
        write_reports(folder)


# --- the command


def test_the_command_prints_paths_and_goes_on_after_a_failure(folder, tmp_path, capsys):
    assert run(["report", str(tmp_path / "none"), str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(folder / "report.html")]
    first, size, summary = err.splitlines()
    assert first == f"umss-jax: {tmp_path / 'none'} does not exist: check the path"
    assert re.fullmatch(rf"umss-jax: {folder / 'report.html'}: \d+\.\d MB", size)
    assert "1 of 2 files failed" in summary
    assert run(["report", str(folder), str(folder), "--targets", str(tmp_path)]) == 2
    assert run(["report", str(folder), "-q"]) == 0
    assert capsys.readouterr().err.count("\n") == 1


# --- evaluations


def summary(mean, **more):
    return {"mean": mean, "median": mean + 1, "mean_low": mean - 2, "mean_high": mean + 2} | more


@pytest.fixture
def evaluation(tmp_path):
    rows = {
        "mixture": {"stems": {"si_sdr_db": summary(-5.5, frames=9, undefined=0)}, "f0": None},
        "a <model>": {
            "stems": {"si_sdr_db": summary(4.0, frames=9, undefined=1), "new_measure": summary(1)},
            "f0": {"overall_accuracy": summary(0.7)},
            "voices": {"alto": {"stems": {"si_sdr_db": summary(3.25)}, "f0": None}},
            "multi_pitch": {"precision": 0.8125},
            "note": "unknown keys are no reason to fail",
        },
    }
    path = tmp_path / "table.json"
    path.write_text(json.dumps(rows))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "excerpt", "voice", "second", "energy", "kept", "si_sdr_db", "x"])
        for kept, score in ((1, -4.0), (1, -8.0), (1, ""), (0, 90.0)):
            writer.writerow(["mixture", "song_1", "alto", 0, 3.0, kept, score, "y"])
    return path


def test_an_evaluation_shows_every_statistic(evaluation):
    page = page_of(evaluation)
    text = re.sub(r"<[^>]+>", " ", page)
    for expected in ("a &lt;model&gt;", "−5.50 / −4.50", "−7.50 to −3.50", "new_measure"):
        assert expected in text
    for expected in (
        "0.700 / 1.700",
        "0.812",
        "Separation, alto",
        "3.25 / 4.25",
        "SI-SDR (dB), mean of each",
    ):
        assert expected in text
    by_voice = page[page.index("mean of each voice") :]
    assert re.search(r'<th scope="row">mixture</th><td>−6.00</td>', by_voice)
    assert evaluation.with_name("table.report.html").is_file()


def test_a_folder_of_evaluations_gets_a_page_for_each(evaluation, tmp_path):
    nested = {"version": 2, "rows": json.loads(evaluation.read_text())}
    (tmp_path / "other.json").write_text(json.dumps(nested))
    (tmp_path / "settings.json").write_text('{"stems": 4}')
    written = write_reports(tmp_path)
    assert [one.path.name for one in written] == ["other.report.html", "table.report.html"]


def test_a_folder_of_evaluate_out_gets_its_own_page(evaluation, tmp_path):
    out = tmp_path / "of all models"
    out.mkdir()
    evaluation.rename(out / "statistics.json")
    (tmp_path / "table.csv").rename(out / "frames.csv")
    page = page_of(out)
    assert "<h1>of all models</h1>" in page
    assert "mean of each voice" in page
    assert (out / "report.html").is_file()


def test_what_is_no_evaluation_is_named(tmp_path, evaluation):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.csv").write_text("a,b\n")
    for name, message in (("a.json", "holds no evaluation"), ("b.json", "is not JSON")):
        with pytest.raises(ReportError, match=message):
            write_reports(tmp_path / name)
    with pytest.raises(ReportError, match=r"c\.csv is no table of frames"):
        write_reports(evaluation, frames=tmp_path / "c.csv")


# --- pictures


def test_masks_hold_the_opacity_and_nothing_else():
    opacity = np.linspace(-0.5, 1.5, 60).reshape(3, 20)
    seen = decoded(png_mask(opacity))
    assert np.abs(seen - opacity.clip(0, 1)).max() < 0.02


def test_a_tone_stands_at_its_frequency_and_level():
    tone = np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)
    level = spectrogram_db(tone, 16_000)
    low, high = np.log10(1 + 60 / 700), np.log10(1 + 8000 / 700)
    row = round((high - np.log10(1 + 1000 / 700)) / (high - low) * (len(level) - 1))
    middle = level[:, level.shape[1] // 2]
    assert abs(int(np.argmax(middle)) - row) <= 1
    assert middle.max() == pytest.approx(0.0, abs=1.5)
    assert np.median(middle) < -60


def test_long_spectrograms_have_no_more_columns_than_asked():
    assert spectrogram_db(np.zeros(16_000 * 60), 16_000).shape[1] <= ReportConfig().columns


def test_salience_is_where_the_curve_is():
    hz = 32.7 * 2 ** (np.arange(360) / 60)
    salience = np.zeros((360, 10), np.float32)
    salience[200, 4] = 1.0
    axis = PitchAxis(100.0, 800.0)
    seen = decoded(salience_mask(salience, hz, axis))
    row, column = np.unravel_index(np.argmax(seen), seen.shape)
    assert 100 * (row + 0.5) / len(seen) == pytest.approx(float(axis.percent(hz[200])), abs=0.6)
    assert column == 4
    below = decoded(salience_mask(np.ones((360, 1), np.float32), hz, PitchAxis(20.0, 40.0)))
    assert below[0, 0] == 1
    assert below[-1, 0] == 0


def test_curves_are_broken_by_silence_and_leaps():
    f0_hz = np.array([220, 221, 0, 0, 222, 440, 441.0])
    path = pitch_path(np.arange(7.0), f0_hz, pitch_axis(f0_hz), 7.0)
    points = [float(x) for x in re.findall(r"L([\d.]+)", path)]
    assert path.count("M") == 3
    assert np.allclose(points, 1000 * np.array([0, 1, 4, 5, 6]) / 7, atol=0.01)


def test_nobody_sings_and_still_there_is_an_axis():
    assert pitch_axis(np.zeros((4, 5))).ticks()


def test_clocks_and_ticks():
    assert [clock(59.9), clock(61), clock(0.3, 0.1), clock(59.96, 0.1)] == [
        "1:00",
        "1:01",
        "0:00.3",
        "1:00.0",
    ]
    seconds = [f"0:0{half / 2}" for half in range(1, 8)]
    assert [tick.label for tick in time_ticks(0.5, 3.0)] == seconds
    assert [tick.percent for tick in time_ticks(10, 100)] == pytest.approx(range(0, 101, 10))
