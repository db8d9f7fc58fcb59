"""The page on this computer in a real browser: from the drop to voices that play."""

import base64
import re

import pytest
from app_parts import StubWorker, served, wait_until, write_song
from page_browser import BROWSER, DRIVER, asked_for

pytest.importorskip("selenium.webdriver", reason="needs selenium")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"
)

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402


@pytest.fixture
def page(tmp_path, browser):
    """The page in the browser, the queue and the worker behind it."""
    (tmp_path / "kept").mkdir()
    worker = StubWorker()
    with served(tmp_path / "kept", worker) as (address, queue):
        browser.get_log("performance")
        browser.get_log("browser")
        browser.get(address)
        yield address, queue, worker
        browser.get("about:blank")
    asked = asked_for(browser)
    assert address in asked
    assert [url for url in asked if not url.startswith((address, "data:", "about:"))] == []
    assert browser.get_log("browser") == []


def wait(browser, condition):
    WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda browser: condition())


def states(browser):
    """What the rows say, by name, the newest first."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#jobs .job')].map((row) =>"
        " [row.querySelector('h3').textContent, row.querySelector('.state').textContent])"
    )


def give(browser, *paths):
    browser.find_element(By.ID, "recording-input").send_keys("\n".join(map(str, paths)))


def press(browser, label):
    browser.find_element(By.CSS_SELECTOR, f'[aria-label="{label}"]').click()


def test_two_at_once_progress_reload_cancel_and_a_broken_file(page, browser, tmp_path):
    _, queue, worker = page
    worker.hold()
    songs = [write_song(tmp_path / f"{name}.wav") for name in ("one", "two")]
    give(browser, *songs)
    wait(browser, lambda: len(states(browser)) == 2)
    wait(browser, lambda: any("separating" in state for _, state in states(browser)))
    wait(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, "#uploads .job"))
    browser.refresh()  # in the middle
    wait(browser, lambda: len(states(browser)) == 2)
    (waits, first), (runs, second) = states(browser)
    assert {waits, runs} == {"one.wav", "two.wav"}
    assert first == "waiting"
    assert re.fullmatch(r"separating, \d+ %, about \d+ s left", second)
    bar = browser.find_elements(By.CSS_SELECTOR, ".job progress")[1]
    assert 0 < float(bar.get_attribute("value")) < 1
    press(browser, f"Cancel: {runs}")
    wait(browser, lambda: dict(states(browser))[runs] == "cancelled")
    worker.goes_on.set()
    wait(browser, lambda: dict(states(browser))[waits] == "done")
    (tmp_path / "broken.m4a").write_bytes(b"no sound" * 100)
    give(browser, tmp_path / "broken.m4a")
    wait(browser, lambda: dict(states(browser)).get("broken.m4a") == "failed")
    error = browser.find_element(By.CSS_SELECTOR, ".job .error").text
    assert error.startswith("broken.m4a ")
    assert str(tmp_path) not in error
    press(browser, f"Try again: {runs}")
    wait(browser, lambda: dict(states(browser))[runs] == "done")
    press(browser, "Remove: broken.m4a")
    browser.switch_to.alert.accept()
    wait(browser, lambda: len(states(browser)) == 2)
    assert len(queue.snapshot()) == 2


def test_making_the_page_shows_percent_and_can_be_cancelled(page, browser, tmp_path):
    _, queue, worker = page
    worker.hold("making the page")
    give(browser, write_song(tmp_path / "song.wav"))
    told = re.compile(r"making the page, 10 %, about \d+ s left")
    wait(browser, lambda: any(told.fullmatch(state) for _, state in states(browser)))
    bar = browser.find_element(By.CSS_SELECTOR, ".job progress")
    assert float(bar.get_attribute("value")) == pytest.approx(5 / 8 / 6)
    press(browser, "Cancel: song.wav")
    wait(browser, lambda: dict(states(browser)) == {"song.wav": "cancelled"})
    job = next(iter(queue._jobs))
    assert not list((tmp_path / "kept" / job).rglob("*.flac"))


def test_from_the_drop_to_voices_that_play_and_files(page, browser, tmp_path):
    address, queue, _ = page
    song = write_song(tmp_path / "Größe & <b>.wav")
    drop(browser, song)
    wait(browser, lambda: [state for _, state in states(browser)] == ["done"])
    assert states(browser)[0][0] == "Größe & _b_.wav"
    browser.find_element(By.LINK_TEXT, "Listen").click()
    wait(browser, lambda: browser.execute_script("return 'umssReport' in window"))
    browser.execute_async_script("umssReport.ready.then(arguments[0])")
    play = browser.find_element(By.ID, "play")
    play.click()
    position = "return umssReport.position()"
    wait(browser, lambda: browser.execute_script(position) > 0.3)
    sources = browser.execute_script(
        "return umssReport.tracks.map((track) => [track.sources.length, track.buffer.length])"
    )
    assert sources == [[1, 64_000]] * 6
    browser.find_element(By.ID, "speed").send_keys("5")
    assert browser.execute_script("return umssReport.speed()") == 0.5
    wait(browser, lambda: browser.execute_script("return umssReport.isPlaying()"))
    play.click()
    job = next(iter(queue._jobs.values()))
    place = tmp_path / "kept" / job.id / job.outcome.place
    got = tmp_path / "got"
    behaviour = {"behavior": "allow", "downloadPath": str(got)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    for name in ("alto.flac", "notes.mid"):
        browser.find_element(By.CSS_SELECTOR, f'.files a[href="{name}"]').click()
        saved = got / f"Größe & _b_ {name}"
        wait_until(saved.is_file)
        assert saved.read_bytes() == (place / name).read_bytes()
    browser.find_element(By.CLASS_NAME, "home").click()
    wait(browser, lambda: browser.current_url == address and len(states(browser)) == 1)


DROP = """
const [text, name] = arguments;
const carried = new DataTransfer();
carried.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name));
for (const kind of ["dragenter", "dragover", "drop"]) {
  document.body.dispatchEvent(
    new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
}
"""


def drop(browser, path):
    browser.execute_script(DROP, base64.b64encode(path.read_bytes()).decode(), path.name)


def test_recordings_of_one_name_are_told_apart_by_when_they_came(page, browser, tmp_path):
    _, queue, _ = page
    give(browser, write_song(tmp_path / "song.wav"))
    wait(browser, lambda: [state for _, state in states(browser)] == ["done"])
    queue.add(next(iter(queue._jobs.values()))._replace(id="2-b", added_s=1.0e9))
    wait(browser, lambda: len(states(browser)) == 2)
    later, now = browser.find_elements(By.CSS_SELECTOR, ".job time")
    assert later.get_attribute("datetime") == "2001-09-09T01:46:40.000Z"
    assert "2001" in later.text
    assert now.text != later.text
    assert later.is_displayed()


def test_what_is_empty_is_said_before_it_is_sent(page, browser, tmp_path):
    _, queue, _ = page
    (tmp_path / "empty.wav").touch()
    give(browser, tmp_path / "empty.wav")
    trouble = browser.find_element(By.ID, "trouble")
    assert trouble.text == "empty.wav is empty: choose another recording"
    assert queue.snapshot() == []


def test_a_score_goes_with_its_recording(page, browser, tmp_path):
    _, queue, worker = page
    worker.hold()
    score = tmp_path / "song.mid"
    score.write_bytes(b"no notes")
    browser.find_element(By.ID, "score-input").send_keys(str(score))
    assert browser.find_element(By.ID, "score-name").text == "song.mid"
    give(browser, write_song(tmp_path / "song.wav"))
    wait(browser, lambda: [state for _, state in states(browser)] == ["failed"])
    assert not browser.find_element(By.ID, "score-line").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, ".job .error").text.startswith("score song.mid ")
    assert queue.snapshot()[0]["score"] == "song.mid"


def test_who_has_no_mouse_is_not_asked_to_drop(page, browser):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    touch = "Emulation.setTouchEmulationEnabled"
    drop_area = browser.find_element(By.ID, "drop")
    assert "drop" in drop_area.text.lower()
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd(touch, {"enabled": True, "maxTouchPoints": 1})
    try:
        wait(browser, lambda: "drop" not in drop_area.text.lower())
        assert drop_area.text.startswith("Your recording")
    finally:
        browser.execute_cdp_cmd(touch, {"enabled": False})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [320, 1280])
def test_it_fits_its_window(page, browser, tmp_path, width, scheme):
    give(browser, write_song(tmp_path / ("long_name_" * 8 + ".wav"), 3.0))
    wait(browser, lambda: [state for _, state in states(browser)] == ["done"])
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        seen = []
        controls = browser.find_elements(By.CSS_SELECTOR, "button, a, input:not([type=file])")
        for control in filter(lambda one: one.is_displayed(), controls):
            assert control.accessible_name, control.get_attribute("outerHTML")
            seen.append(control.accessible_name)
        assert len(set(seen)) == len(seen)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
