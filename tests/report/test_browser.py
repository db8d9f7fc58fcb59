"""The page in a real browser: it plays, stays in step, obeys keys, and asks for nothing."""

import io
import itertools
import json
import time

import numpy as np
import pytest
import soundfile
from evaluation_folder import LEAK, make_evaluation, make_excerpts
from page_browser import BROWSER, DRIVER, asked_for
from PIL import Image
from separation_folder import add_salience, add_targets, make_separation

from umss_jax.config import VOICES
from umss_jax.report.config import ReportConfig
from umss_jax.report.page import write_reports

pytest.importorskip("selenium.webdriver", reason="needs selenium")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"
)

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

RATE_HZ = 8_000
SECONDS = 40.0
CLOCK_SECONDS = 12
# The clock of this context goes as fast as the machine can, and stands still while something is
# done: what sounds when is then exact, however busy the machine is. Nodes and player are the real.
OFFLINE = f"""
window.AudioContext = class {{
  constructor(options) {{
    const rows = document.querySelectorAll("[data-track]").length;
    const context = new OfflineAudioContext(
      {{ numberOfChannels: rows, length: {CLOCK_SECONDS} * options.sampleRate, ...options }});
    context.goOn = context.resume;
    context.resume = async () => {{}};
    return context;
  }}
}};
"""

# Does things at given times; gives what every row sounded like around others, and the positions.
RENDER = """
const [actions, moments, samples, done] = arguments;
(async () => {
  const context = umssReport.context();
  const merger = new ChannelMergerNode(context, { numberOfInputs: umssReport.tracks.length });
  umssReport.tracks.forEach((track, index) => {
    track.gain.disconnect();
    track.gain.connect(merger, 0, index);
  });
  merger.connect(context.destination);
  const positions = [];
  for (const at of moments) {
    context.suspend(at).then(() => {
      positions.push(umssReport.position() - context.currentTime);
      context.goOn();
    });
  }
  for (const [at, work] of actions) {
    context.suspend(at).then(() => {
      new Function(work)();
      setTimeout(() => context.goOn(), 20);  // what waits for a promise gets its turn
    });
  }
  const heard = await context.startRendering();
  const cut = (at) => umssReport.tracks.map((_, index) =>
    [...heard.getChannelData(index).slice(Math.round(at * heard.sampleRate)).slice(0, samples)]);
  done({ positions, rows: moments.map(cut) });
})().catch((error) => done({ error: String(error) }));
"""


def noise() -> np.ndarray:
    """Coarse steps, which FLAC packs well."""
    return np.random.default_rng(11).integers(-20, 21, round(SECONDS * RATE_HZ)) / 128


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """One page in FLAC and one in MP3: every stem and target holds the same noise."""
    folder = make_separation(tmp_path_factory.mktemp("pages"), SECONDS)
    for name in (*VOICES, "residual"):
        soundfile.write(folder / f"{name}.wav", noise(), RATE_HZ, subtype="PCM_24")
    add_targets(folder)
    add_salience(folder, SECONDS)
    (flac,) = write_reports(folder)
    kept = flac.path.rename(folder / "flac.html")
    (mp3,) = write_reports(folder, config=ReportConfig(lossless_megabytes=0.0))
    return {"flac": kept, "mp3": mp3.path}


@pytest.fixture
def opened(browser, pages):
    """Opens a page, waits for its sounds, and sees at the end that nothing was logged."""
    injected = []

    def open_page(kind="flac", offline=False):
        browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": offline})
        if offline:
            added = {"source": OFFLINE}
            answer = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", added)
            injected.append(answer["identifier"])
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(pages[kind].as_uri())
        # On a busy machine the driver has been seen to return before the page's scripts ran.
        WebDriverWait(browser, 60).until(
            lambda browser: browser.execute_script("return 'umssReport' in window")
        )
        status = browser.execute_async_script(
            "const done = arguments[0];"
            "umssReport.ready.then(() => done(document.getElementById('status').textContent));"
        )
        assert status == ""
        return browser

    yield open_page
    for identifier in injected:
        removed = {"identifier": identifier}
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", removed)
    assert browser.get_log("browser") == []


def press(browser, *keys, shift=False):
    chain = ActionChains(browser, duration=0)
    if shift:
        chain.key_down(Keys.SHIFT)
    for key in keys:
        chain.send_keys(key)
    if shift:
        chain.key_up(Keys.SHIFT)
    chain.perform()


def position(browser):
    return browser.execute_script("return umssReport.position()")


def is_playing(browser):
    return browser.execute_script("return umssReport.isPlaying()")


def wait(browser, condition):
    WebDriverWait(browser, 60, poll_frequency=0.05).until(condition)


def play(browser):
    press(browser, Keys.SPACE)
    wait(browser, lambda b: is_playing(b) and position(b) > 0)


def render(browser, actions, moments, samples=1024):
    """Plays, does things at times of the clock, and listens at others.

    Returns:
        Per moment ``[rows, samples]``, and the position that the page tells for it.
    """
    press(browser, Keys.SPACE)
    wait(browser, is_playing)
    result = browser.execute_async_script(RENDER, actions, moments, samples)
    assert "error" not in result, result
    return np.asarray(result["rows"]), np.asarray(result["positions"]) + moments


def place_of(heard):
    """Where in the noise a recorded interval lies, in seconds."""
    longest = noise()
    size = 1 << (len(longest) + len(heard) - 1).bit_length()
    spectrum = np.fft.rfft(longest, size) * np.conj(np.fft.rfft(heard, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(longest)])) / RATE_HZ


def unmute_all(browser):
    for button in browser.find_elements(By.CSS_SELECTOR, "[data-mute][aria-pressed=true]"):
        button.click()


def key(name):
    """Program of a key press."""
    event = f'new KeyboardEvent("keydown", {{key: "{name}", bubbles: true}})'
    return f"document.body.dispatchEvent({event})"


@pytest.mark.parametrize("kind", ["flac", "mp3"])
def test_stems_play_in_step_and_where_the_page_says(opened, kind):
    browser = opened(kind, offline=True)
    unmute_all(browser)
    browser.find_element(By.TAG_NAME, "h1").click()
    actions = [
        [2.0, key("ArrowRight")],
        [4.0, "umssReport.seek(31.7654321)"],
        [6.0, "document.getElementById('play').click()"],
        [7.0, "document.getElementById('play').click()"],
        [9.0, key("Home")],
    ]
    moments = [1.0, 3.0, 5.0, 8.5, 10.0]
    heard, positions = render(browser, actions, moments)
    assert positions == pytest.approx([0.97, 7.94, 32.7354, 35.2354, 0.97], abs=0.05)
    for rows, position_s in zip(heard, positions, strict=True):
        assert len(rows) == 10
        places = [place_of(row) for row in rows]
        assert set(places) == {places[0]}  # not one sample apart, let alone a millisecond
        assert places[0] == pytest.approx(position_s, abs=0.001)
        if kind == "flac":
            rows = rows / np.sqrt(np.mean(rows**2, axis=1, keepdims=True))
            assert np.abs(rows - rows[0]).max() < 0.002


def test_decoded_sounds_are_equally_long(opened):
    for kind in ("flac", "mp3"):
        lengths = opened(kind).execute_script(
            "return umssReport.tracks.map((track) => track.buffer.length)"
        )
        assert len(lengths) == 10
        assert set(lengths) == {round(SECONDS * RATE_HZ)}


def test_keys_play_pause_and_seek(opened):
    browser = opened()
    assert not is_playing(browser)
    play(browser)
    before = position(browser)
    wait(browser, lambda b: position(b) > before + 0.3)
    button = browser.find_element(By.ID, "play")
    assert button.accessible_name == "Pause"
    press(browser, Keys.SPACE)
    assert not is_playing(browser)
    assert button.accessible_name == "Play"
    still = position(browser)
    assert position(browser) == still
    press(browser, Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert position(browser) == pytest.approx(10.0)
    press(browser, Keys.ARROW_LEFT, shift=True)
    assert position(browser) == pytest.approx(9.0)
    seek = browser.find_element(By.ID, "seek")
    assert seek.get_attribute("aria-valuetext") == "0:09 of 0:40"
    press(browser, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert position(browser) == 0
    press(browser, Keys.END)
    assert position(browser) == SECONDS
    # The slider itself obeys the same keys.
    seek.send_keys(Keys.HOME)
    seek.send_keys(Keys.ARROW_RIGHT)
    assert position(browser) == pytest.approx(5.0)
    seek.send_keys(Keys.SPACE)
    wait(browser, is_playing)


def test_it_says_when_there_is_nothing_to_play_on(opened):
    browser = opened()
    # As of Firefox on a computer without a loudspeaker: the promise is never kept, until there is.
    browser.execute_script(
        "AudioContext.prototype.resume = () => new Promise((kept) => { window.connect = kept; });"
        "Object.defineProperty(AudioContext.prototype, 'state', { get: () => 'suspended' });"
    )
    browser.find_element(By.ID, "play").click()
    status = browser.find_element(By.ID, "status")
    wait(browser, lambda b: "is a loudspeaker connected?" in status.text)
    assert not is_playing(browser)
    browser.execute_script("window.connect()")
    wait(browser, is_playing)
    assert status.text == ""


def test_it_seeks_while_playing_and_ends_at_the_end(opened):
    browser = opened()
    play(browser)
    before, began = position(browser), time.monotonic()
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert is_playing(browser)
    moved = position(browser) - before
    assert 9.9 <= moved <= 10 + (time.monotonic() - began)
    browser.execute_script("umssReport.seek(arguments[0])", SECONDS - 0.3)
    wait(browser, lambda b: not is_playing(b))
    assert position(browser) == 0
    assert browser.execute_script(
        "return umssReport.tracks.every((track) => !track.sources.length)"
    )


def test_a_click_on_a_picture_seeks(opened):
    browser = opened()
    for lane in browser.find_elements(By.CSS_SELECTOR, "[data-lane]")[:3]:
        browser.execute_script("umssReport.seek(0)")
        lane.click()  # in its middle
        assert position(browser) == pytest.approx(SECONDS / 2, abs=0.05)
        head = lane.find_element(By.CLASS_NAME, "playhead").rect  # its line is at its left
        assert head["x"] == pytest.approx(lane.rect["x"] + lane.rect["width"] / 2, abs=2)


def test_solo_and_mute_decide_what_is_heard(opened):
    browser = opened(offline=True)

    def click(kind, row, shift="false"):
        press = f"new MouseEvent('click', {{bubbles: true, shiftKey: {shift}}})"
        return f"document.querySelectorAll('[data-{kind}]')[{row}].dispatchEvent({press})"

    stems = [1, 3, 5, 7, 9]
    steps = [
        ("", stems),
        (click("solo", 3), [3]),
        (click("solo", 4), [4]),  # from estimate to target
        (click("solo", 5, "true"), [4, 5]),
        (key("1"), [0]),
        (key("1"), stems),
        (click("mute", 1), [3, 5, 7, 9]),
        (click("mute", 0), [0, 3, 5, 7, 9]),
        (key("0"), stems),
    ]
    actions = [[1.0 + step, work] for step, (work, _) in enumerate(steps)]
    heard, _ = render(browser, actions, [at + 0.5 for at, _ in actions])
    level = np.sqrt(np.mean(heard**2, axis=2))
    assert np.all((level < 1e-6) | (level > 0.005))
    assert [np.flatnonzero(row).tolist() for row in level > 0.005] == [on for _, on in steps]


def fills(until_s):
    """What the page does by itself every 200 ms of a clock that does not stand still."""
    return [[0.25 * step, "umssReport.fill()"] for step in range(1, round(until_s / 0.25))]


@pytest.mark.parametrize("speed", [pytest.param(0.5, marks=pytest.mark.slow), 0.8])
def test_slower_stems_stay_in_step_and_are_where_the_page_says(opened, speed):
    browser = opened(offline=True)
    unmute_all(browser)
    browser.find_element(By.TAG_NAME, "h1").click()
    browser.execute_script("umssReport.setSpeed(arguments[0])", speed)
    heard, positions = render(browser, fills(7.0), [1.1, 3.1, 6.1])
    assert positions == pytest.approx([speed * (at - 0.03) for at in (1.1, 3.1, 6.1)], abs=0.05)
    for rows, position_s in zip(heard, positions, strict=True):
        rows = rows / np.sqrt(np.mean(rows**2, axis=1, keepdims=True))
        assert np.abs(rows - rows[0]).max() < 0.002
        # a piece of 30 ms, which is at most 15 ms from its place, at the speed of the recording
        assert place_of(rows[0]) == pytest.approx(position_s, abs=0.08)


def test_a_loop_goes_back_in_step(opened):
    browser = opened(offline=True)
    unmute_all(browser)
    browser.find_element(By.TAG_NAME, "h1").click()
    browser.execute_script("umssReport.setLoop({from: 2, to: 3, on: true}); umssReport.seek(1.5)")
    # 8.6 s after the start: 1.5 s to the end of the loop, and seven times through it
    heard, positions = render(browser, fills(9.0), [1.03, 2.03, 8.625])
    assert positions == pytest.approx([2.5, 2.5, 2.1], abs=0.05)
    for rows, position_s in zip(heard, positions, strict=True):
        rows = rows / np.sqrt(np.mean(rows**2, axis=1, keepdims=True))
        assert np.abs(rows - rows[0]).max() < 0.002
        assert place_of(rows[0]) == pytest.approx(position_s, abs=0.08)


STRETCH = """
const [hz, seconds, rate, speed] = arguments;
const sine = (hz) => {
  const buffer = new AudioBuffer({ numberOfChannels: 1, length: seconds * rate, sampleRate: rate });
  const data = buffer.getChannelData(0);
  for (let i = 0; i < data.length; i++) data[i] = Math.sin((2 * Math.PI * hz * i) / rate);
  return { buffer };
};
const tracks = hz.map(sine);
const placeOf = (at) => (at * speed < seconds ? at * speed : null);
const stream = umssStretch.open(null, tracks, rate, speed, placeOf, () => tracks);
const made = hz.map(() => []);
for (let next; (next = stream.next(8)); ) {
  next.forEach((buffer, index) => made[index].push(...buffer.getChannelData(0)));
}
return made;
"""


@pytest.mark.parametrize(
    "speed",
    [pytest.param(0.5, marks=pytest.mark.slow), 0.7, pytest.param(0.9, marks=pytest.mark.slow)],
)
def test_slower_tones_are_as_high_and_as_loud(opened, speed):
    """A chord of one period: its pieces can be joined without a trace."""
    rate, seconds, chord = 8_000, 3.0, (110.0, 220.0, 330.0)
    made = np.asarray(opened().execute_script(STRETCH, chord, seconds, rate, speed))
    assert made.shape[1] / rate == pytest.approx(seconds / speed, abs=0.031)
    inside = made[:, rate // 2 : 2 * rate]
    for tone, hz in zip(inside, chord, strict=True):
        spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone)), 8 * len(tone)))
        assert np.argmax(spectrum) * rate / (8 * len(tone)) == pytest.approx(hz, rel=0.003)
        assert np.sqrt(np.mean(tone**2)) == pytest.approx(np.sqrt(0.5), rel=0.03)


def test_volumes_are_of_one_row(opened):
    browser = opened(offline=True)
    sliders = browser.find_elements(By.CSS_SELECTOR, "[data-volume]")
    sliders[1].send_keys(Keys.HOME)
    sliders[3].send_keys(*[Keys.ARROW_LEFT] * 50)
    assert sliders[3].get_attribute("aria-valuetext") == "50 %"
    assert position(browser) == 0  # the arrows moved the slider and not the music
    browser.find_element(By.TAG_NAME, "h1").click()
    loud = "document.getElementById('reset').click()"
    heard, _ = render(browser, [[2.0, loud]], [1.0, 3.0])
    before, after = np.sqrt(np.mean(heard**2, axis=2))
    assert before[1] < 1e-6
    assert before[3] == pytest.approx(after[3] / 4, rel=0.15)  # of two pieces of noise
    assert np.all(after[[1, 3, 5, 7, 9]] > 0.005)


def test_loops_and_speeds_by_keys_and_buttons(opened):
    browser = opened()
    press(browser, Keys.ARROW_RIGHT, "[", Keys.ARROW_RIGHT, "]")
    loop = browser.find_element(By.ID, "loop")
    assert loop.text == "Loop 0:05–0:10"
    assert loop.get_attribute("aria-pressed") == "true"
    press(browser, "l")
    assert (loop.text, loop.get_attribute("aria-pressed")) == ("Loop", "false")
    press(browser, Keys.HOME)
    browser.find_element(By.ID, "loop-to").click()  # before its beginning
    ends = browser.execute_script("return umssReport.loop()")
    assert ends == {"from": 0, "to": pytest.approx(0.1), "on": True}
    loop.click()
    speed = browser.find_element(By.ID, "speed")
    assert speed.get_property("value") == "1"
    press(browser, "-", "-")
    assert speed.get_property("value") == "0.8"
    press(browser, *"++++")
    assert speed.get_property("value") == "1"
    browser.find_element(By.TAG_NAME, "h1").click()
    play(browser)
    press(browser, *"-----")
    assert browser.execute_script("return umssReport.speed()") == 0.5
    wait(browser, lambda b: position(b) > 0.2)


def test_buttons_and_rows_show_what_is_heard(opened):
    browser = opened()
    solo = browser.find_elements(By.CSS_SELECTOR, "[data-solo]")
    mute = browser.find_elements(By.CSS_SELECTOR, "[data-mute]")

    def shown():
        rows = browser.find_elements(By.CSS_SELECTOR, ".track")
        return [i for i, row in enumerate(rows) if "off" not in row.get_attribute("class").split()]

    stems = [1, 3, 5, 7, 9]
    assert shown() == stems
    solo[3].click()
    assert solo[3].get_attribute("aria-pressed") == "true"
    assert shown() == [3]
    solo[3].click()
    mute[1].click()
    assert mute[1].get_attribute("aria-pressed") == "true"
    assert shown() == [3, 5, 7, 9]
    browser.find_element(By.ID, "reset").click()
    assert mute[1].get_attribute("aria-pressed") == "false"
    assert shown() == stems


def test_everything_is_reached_by_tab_seen_and_named(opened):
    browser = opened()
    controls = browser.find_elements(By.CSS_SELECTOR, "button, input, select, summary, .scroll")
    seen = []
    for _ in controls:
        press(browser, Keys.TAB)
        active = browser.switch_to.active_element
        seen.append(active)
        assert active.accessible_name, active.get_attribute("outerHTML")
        assert active.value_of_css_property("outline-style") == "solid"
        assert active.value_of_css_property("outline-width") == "3px"
    assert seen == controls
    names = [control.accessible_name for control in controls]
    assert len(set(names)) == len(names)


def test_space_on_a_button_is_the_button_s(opened):
    browser = opened()
    solo = browser.find_elements(By.CSS_SELECTOR, "[data-solo]")[1]
    solo.send_keys(Keys.SPACE)
    assert solo.get_attribute("aria-pressed") == "true"
    assert not is_playing(browser)


def test_nothing_is_asked_of_any_network(opened, pages):
    browser = opened()
    play(browser)
    others = [address for address in asked_for(browser) if not address.startswith("data:")]
    assert others == [pages["flac"].as_uri()]


CUT = """
const scroll = document.querySelector(".scroll");
return scroll.scrollWidth > scroll.clientWidth + 1;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_it_fits_its_window_and_can_be_read(opened, width, scheme):
    browser = opened()
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        for selector in (
            "h1",
            ".facts",
            ".hint",
            ".name",
            "td",
            ".time-axis span",
            ".now",
            ".frequency",
        ):
            assert contrast(browser, selector) >= 4.5, selector
        assert contrast(browser, "#play") >= 3
        labels = browser.find_elements(By.CSS_SELECTOR, ".plot .time-axis span")
        labels = [one.rect for one in labels if one.is_displayed()]
        assert len(labels) > 3
        ends = [(one["x"], one["x"] + one["width"]) for one in labels]
        assert all(end < start for (_, end), (start, _) in itertools.pairwise(ends)), ends
        button = browser.find_element(By.ID, "play").rect
        assert 0 <= button["y"] <= 800 - button["height"]
        is_cut = browser.execute_script(CUT)
        assert is_cut == (width < 500)
        assert browser.find_element(By.CSS_SELECTOR, ".more").is_displayed() == is_cut
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_line_of_the_position_strikes_no_label_through(opened):
    browser = opened()
    label = browser.find_element(By.CLASS_NAME, "frequency")
    lane = browser.find_element(By.CSS_SELECTOR, ".track .lane")
    middle = label.rect["x"] + label.rect["width"] / 2 - lane.rect["x"]
    assert 0 < middle < lane.rect["width"] / 4

    def seen():
        with Image.open(io.BytesIO(label.screenshot_as_png)) as picture:
            return np.asarray(picture.convert("RGB"))[2:-2, 2:-2]  # less its round corners

    browser.execute_script("umssReport.seek(arguments[0])", SECONDS / 2)
    apart = seen()
    browser.execute_script("umssReport.seek(arguments[0])", middle / lane.rect["width"] * SECONDS)
    head = lane.find_element(By.CLASS_NAME, "playhead").rect
    assert head["x"] == pytest.approx(lane.rect["x"] + middle, abs=2)
    assert np.ptp(apart) > 100  # words are seen
    np.testing.assert_array_equal(seen(), apart)


def test_a_phone_is_told_of_no_keys(opened):
    browser = opened()
    keys = browser.find_element(By.CLASS_NAME, "keyboard")
    assert keys.is_displayed()
    touch = "Emulation.setTouchEmulationEnabled"
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd(touch, {"enabled": True, "maxTouchPoints": 1})
    try:
        wait(browser, lambda b: not keys.is_displayed())
    finally:
        browser.execute_cdp_cmd(touch, {"enabled": False})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_muted_rows_are_no_paler_than_others(opened):
    browser = opened()
    strengths = browser.execute_script(
        """
        const strength = (node) =>
          node ? getComputedStyle(node).opacity * strength(node.parentElement) : 1;
        return [...document.querySelectorAll(".track .mask")].map(strength);
        """
    )
    off = browser.find_elements(By.CSS_SELECTOR, ".track.off")
    assert 0 < len(off) < len(strengths)
    assert set(strengths) == {1}


def test_colours_can_be_switched(opened):
    browser = opened()
    body = browser.find_element(By.TAG_NAME, "body")
    before = body.value_of_css_property("background-color")
    button = browser.find_element(By.ID, "theme")
    button.click()
    assert body.value_of_css_property("background-color") != before
    button.click()
    assert body.value_of_css_property("background-color") == before


def contrast(browser, selector):
    """Of WCAG 2, between a text and what lies behind it."""
    colours = browser.execute_script(
        """
        const options = { willReadFrequently: true };
        const paint = document.createElement("canvas").getContext("2d", options);
        const rgb = (colour) => {
          paint.fillStyle = colour;
          paint.fillRect(0, 0, 1, 1);
          return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
        };
        let node = document.querySelector(arguments[0]);
        const text = rgb(getComputedStyle(node).color);
        const ground = () => getComputedStyle(node).backgroundColor;
        while (ground() === "rgba(0, 0, 0, 0)") node = node.parentElement;
        return [text, rgb(ground())];
        """,
        selector,
    )
    linear = np.asarray(colours) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (light + 0.05) / (dark + 0.05)


def test_an_evaluation_opens_without_a_word(browser, tmp_path):
    summary = {"mean": 4.2, "median": 5.0, "mean_low": 3.0, "mean_high": 6.0, "frames": 3}
    rows = {"mixture": {"stems": {"si_sdr_db": summary | {"undefined": 0}}}}
    (tmp_path / "table.json").write_text(json.dumps(rows))
    (written,) = write_reports(tmp_path)
    browser.get_log("browser")
    browser.get(written.path.as_uri())
    assert browser.find_element(By.CSS_SELECTOR, "td + td, th + td").text == "4.20 / 5.00"
    assert browser.find_element(By.CLASS_NAME, "fill").size["width"] > 100
    assert browser.get_log("browser") == []


# --- an evaluation with excerpts to hear


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    (written,) = write_reports(make_evaluation(tmp_path_factory.mktemp("evaluation")))
    return written.path


def choose(kind, value):
    """Program that presses a button of a choice."""
    return f"document.querySelector('[data-choose={kind}][value=\"{value}\"]').click()"


def test_rows_and_excerpts_of_an_evaluation_play_on_one_clock(opened, pages, evaluation):
    pages["evaluation"] = evaluation
    browser = opened("evaluation", offline=True)
    # 13 tracks an excerpt: mixture, and for each voice both rows and the target
    exact, rough = [1, 4, 7, 10], [2, 5, 8, 11]
    steps = [
        ("", exact),
        (choose("row", 1), rough),
        (key("2"), [2]),  # the soprano alone
        (key("r"), [1]),
        (key("3"), [3]),  # its target
        (key("0"), exact),
        (key("e"), [place + 13 for place in exact]),
        (choose("row", 1), [place + 13 for place in rough]),
    ]
    actions = [[0.4 + 0.4 * step, work] for step, (work, _) in enumerate(steps)]
    moments = [at + 0.2 for at, _ in actions]
    heard, positions = render(browser, actions, moments)
    level = np.sqrt(np.mean(heard**2, axis=2))
    assert [np.flatnonzero(row).tolist() for row in level > 0.005] == [on for _, on in steps]
    assert np.all((level < 1e-6) | (level > 0.005))
    # another row goes on from the same moment, another excerpt begins anew
    assert positions[:6] == pytest.approx([0.57 + 0.4 * step for step in range(6)], abs=0.05)
    assert positions[6:] == pytest.approx([0.17, 0.57], abs=0.05)
    excerpts = make_excerpts()
    for sounds, position_s, (_, on) in zip(heard, positions, steps, strict=True):
        excerpt = excerpts[on[0] // 13]
        voice = excerpt.sources[(on[0] % 13 - 1) // 3]
        expected = voice + LEAK * excerpt.mixture if on[0] % 13 % 3 == 2 else voice
        start = round(position_s * 16_000)
        shifts = range(-40, 41)  # a position is told to the block of the clock
        matches = [
            np.corrcoef(sounds[on[0]], expected[start + d : start + d + 1024])[0, 1] for d in shifts
        ]
        assert max(matches) > 0.999


def test_an_evaluation_shows_what_is_chosen(opened, pages, evaluation):
    pages["evaluation"] = evaluation
    browser = opened("evaluation")

    def shown(selector):
        found = browser.find_elements(By.CSS_SELECTOR, selector)
        return [i for i, one in enumerate(found) if one.is_displayed()]

    assert shown(".plot") == [0]
    assert shown(".track") == [0, 1, 3, 4, 6, 7, 9, 10, 12]
    solo = browser.find_elements(By.CSS_SELECTOR, "[data-solo]")
    solo[1].click()
    options = browser.find_elements(By.CSS_SELECTOR, "[data-choose]")
    assert [one.text for one in options] == [
        *("song 0, 0:04", "song 1, 0:08", "exact", "rough <b>, F0 (x/y)")
    ]
    options[3].click()
    assert [one.get_attribute("aria-pressed") for one in options] == [
        *("true", "false", "false", "true")
    ]
    assert shown(".plot") == [1]
    assert solo[2].get_attribute("aria-pressed") == "true"
    press(browser, "e")
    assert shown(".plot") == [3]
    assert shown(".track") == [13 + place for place in (0, 2, 3, 5, 6, 8, 9, 11, 12)]
    press(browser, "E", "r")
    assert shown(".plot") == [0]
    browser.find_element(By.ID, "play").click()
    wait(browser, is_playing)
    options[0].send_keys(Keys.SPACE)
    assert is_playing(browser)
    controls = browser.find_elements(By.CSS_SELECTOR, "button, input")
    names = [control.accessible_name for control in controls if control.is_displayed()]
    assert all(names)
    assert len(set(names)) == len(names)
    for width in (320, 1280):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
