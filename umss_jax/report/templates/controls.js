"use strict";
// Buttons, sliders, keys and pictures of the page: they ask the player, and show what it does.
{
  const player = window.umssReport;
  const { settings, tracks, options } = player;
  const { duration } = settings;
  const report = document.getElementById("report");
  const element = (id) => document.getElementById(id);
  const play = element("play"), seekBar = element("seek"), reset = element("reset");
  const loop = element("loop"), loopFrom = element("loop-from"), loopTo = element("loop-to");
  const speed = element("speed"), time = element("time"), status = element("status");
  const NOTES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
  const IN_TUNE = 8; // cents that few hear

  const readouts = [...document.querySelectorAll("[data-now]")];
  const panels = [...document.querySelectorAll("[data-panel]")];
  const curves = [...document.querySelectorAll("[data-curve]")];
  const playheads = [...document.querySelectorAll(".playhead")];
  const write = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };
  const mark = (node, name, value) => {
    if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  };
  const clock = (seconds) => {
    const whole = Math.floor(seconds + 1e-6);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };

  function noteOf(hz) {
    const exact = 69 + 12 * Math.log2(hz / 440);
    const note = Math.round(exact), cents = Math.round(100 * (exact - note));
    const name = `${NOTES[note % 12]}${Math.floor(note / 12) - 1}`;
    if (Math.abs(cents) <= IN_TUNE) return name;
    return `${name}, ${Math.abs(cents)} cents ${cents < 0 ? "low" : "high"}`;
  }

  function showTime() {
    const at = player.position(), playing = player.isPlaying();
    // What is heard now left the clock a while ago, on wireless headphones a long one.
    const late = playing ? player.speed() * (player.context().outputLatency || 0) : 0;
    const seen = Math.max(0, at - late);
    report.classList.toggle("playing", playing);
    // Moved as layers of their own: nothing beneath them is painted anew.
    const shift = `translateX(${duration > 0 ? (100 * seen) / duration : 0}%)`;
    for (const head of playheads) head.style.transform = shift;
    write(element("play-label"), playing ? "Pause" : "Play");
    write(time.firstChild, clock(settings.start + seen));
    seekBar.value = at;
    mark(seekBar, "aria-valuetext", `${clock(settings.start + at)} of ${clock(settings.start + duration)}`);
    const pitches = settings.pitches[panels.find((panel) => !panel.hidden).dataset.panel];
    const frame = Math.round(seen / pitches.frame_s);
    for (const place of readouts) {
      const hz = pitches.hz[place.dataset.now][frame];
      write(place, hz > 0 ? noteOf(hz) : "");
    }
  }

  function showMix() {
    const heard = new Set();
    for (const track of tracks) {
      const on = player.audible(track);
      track.row.classList.toggle("off", !on);
      mark(track.solo, "aria-pressed", track.mix.soloed);
      mark(track.mute, "aria-pressed", track.mix.muted);
      const percent = Math.round(100 * track.mix.volume);
      track.volume.value = percent;
      mark(track.volume, "aria-valuetext", `${percent} %`);
      track.solo.disabled = track.mute.disabled = track.volume.disabled = !player.isReady();
      if (on) heard.add(track.row.style.getPropertyValue("--colour"));
    }
    const all = heard.has("var(--ink)") && heard.size === 1;
    for (const curve of curves) curve.classList.toggle("off", !all && !heard.has(`var(--${curve.dataset.curve})`));
  }

  function showChoices() {
    for (const option of options) {
      const pressed = player.chosen[option.dataset.choose] === option.value;
      if (String(pressed) === option.getAttribute("aria-pressed")) continue;
      option.setAttribute("aria-pressed", pressed);
      const bar = option.parentElement; // on a narrow page it scrolls
      if (pressed) bar.scrollLeft = option.offsetLeft - bar.offsetLeft - (bar.clientWidth - option.offsetWidth) / 2;
    }
  }

  function showLoop() {
    const { from, to, on } = player.loop();
    report.classList.toggle("looping", on);
    report.style.setProperty("--loop-from", `${(100 * from) / duration}%`);
    report.style.setProperty("--loop-to", `${100 - (100 * to) / duration}%`);
    mark(loop, "aria-pressed", on);
    write(loop, on ? `Loop ${clock(settings.start + from)}–${clock(settings.start + to)}` : "Loop");
    speed.value = player.speed();
    for (const control of [play, seekBar, reset, loop, loopFrom, loopTo, speed]) control.disabled = !player.isReady();
  }

  let shown = "";
  function show() {
    showTime();
    const mixes = tracks.map(({ mix, row }) => [mix.soloed, mix.muted, mix.volume, row.hidden]);
    const state = JSON.stringify([player.isReady(), player.chosen, player.loop(), player.speed(), mixes]);
    if (state === shown) return; // most often only time has passed
    shown = state;
    showMix();
    showChoices();
    showLoop();
  }

  const switchLoop = () => player.setLoop({ on: !player.loop().on });
  const loopFromHere = () => player.setLoop({ from: player.position(), on: true });
  const loopToHere = () => player.setLoop({ to: player.position(), on: true });
  function nextSpeed(step) {
    const place = player.SPEEDS.indexOf(player.speed()) + step;
    if (player.SPEEDS[place]) player.setSpeed(player.SPEEDS[place]);
  }

  for (const track of tracks) {
    track.solo.addEventListener("click", (event) => player.solo(track, event.shiftKey || event.ctrlKey || event.metaKey));
    track.mute.addEventListener("click", () => player.mute(track));
    track.volume.addEventListener("input", () => player.setVolume(track, track.volume.value / 100));
  }
  for (const option of options) option.addEventListener("click", () => player.choose(option.dataset.choose, option.value));
  play.addEventListener("click", player.toggle);
  reset.addEventListener("click", player.reset);
  loop.addEventListener("click", switchLoop);
  loopFrom.addEventListener("click", loopFromHere);
  loopTo.addEventListener("click", loopToHere);
  speed.addEventListener("change", () => player.setSpeed(Number(speed.value)));
  seekBar.addEventListener("input", () => player.seek(Number(seekBar.value)));

  for (const lane of document.querySelectorAll("[data-lane]")) {
    const to = (event) => {
      const box = lane.getBoundingClientRect();
      player.seek((duration * (event.clientX - box.left - lane.clientLeft)) / lane.clientWidth);
    };
    lane.addEventListener("click", to);
    lane.addEventListener("pointermove", (event) => {
      if (event.buttons === 1 && event.pointerType === "mouse") to(event);
    });
  }

  function chooseNext(kind, back) {
    const values = options.filter((option) => option.dataset.choose === kind).map((option) => option.value);
    const place = values.indexOf(player.chosen[kind]) + (back ? values.length - 1 : 1);
    player.choose(kind, values[place % values.length]);
  }

  function actionOf(event) {
    const step = event.shiftKey ? 1 : 5;
    const row = player.shown()[event.key - 1];
    for (const kind in player.chosen) if (event.key.toLowerCase() === kind[0]) return () => chooseNext(kind, event.shiftKey);
    if (/^[1-9]$/.test(event.key)) return row && (() => player.solo(row, false));
    return {
      ArrowLeft: () => player.seek(player.position() - step),
      ArrowRight: () => player.seek(player.position() + step),
      Home: () => player.seek(0),
      End: () => player.seek(duration),
      "0": player.reset,
      "[": loopFromHere,
      "]": loopToHere,
      l: switchLoop,
      "-": () => nextSpeed(1),
      "+": () => nextSpeed(-1),
    }[event.key];
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !player.isReady()) return;
    const at = event.target;
    if (at.closest("select")) return;
    let action = null;
    if (event.key === " ") action = at.closest("button, summary, a") ? null : player.toggle; // which Space presses
    else if (at.closest(".scroll, pre") || (at.closest("[data-volume]") && event.key.length > 1)) return; // which arrows move
    else action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow")) action();
  });

  player.begin(show, (text, failed = false) => {
    status.textContent = text;
    status.classList.toggle("failed", failed);
  });
}
