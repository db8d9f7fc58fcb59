"use strict";
// All stems run on one audio clock: every play and every seek starts all of them at one instant
// from one position, and solo and mute only turn their gains, so none can drift from the others.
// Where a page has several excerpts, those of the chosen one run, with the stems of all rows.
window.umssReport = (() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const report = document.getElementById("report");
  const element = (id) => document.getElementById(id);
  const play = element("play"), seekBar = element("seek"), reset = element("reset");
  const time = element("time"), status = element("status"), playLabel = element("play-label");
  const duration = settings.duration;
  const LEAD = 0.03; // seconds between asking for a start and the start, to have all in place
  const FADE = 0.008; // time constant of gains: no clicks
  const NOTES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

  const mixes = {}; // solo and mute by place: the soprano's are the same whichever row is chosen
  const tracks = [...document.querySelectorAll("[data-track]")].map((row) => {
    const mute = row.querySelector("[data-mute]"), solo = row.querySelector("[data-solo]");
    const muted = mute.getAttribute("aria-pressed") === "true";
    const mix = (mixes[row.dataset.place] ??= { muted, mutedAtFirst: muted, soloed: false });
    return { row, mute, solo, mix, buffer: null, gain: null, source: null };
  });

  const chosen = {}; // by kind of choice
  const options = [...document.querySelectorAll("[data-choose]")];
  for (const option of options) chosen[option.dataset.choose] ??= option.value;
  const belongs = (node, kinds) => kinds.every((kind) => !(kind in node.dataset) || node.dataset[kind] === chosen[kind]);
  const scoped = [...document.querySelectorAll("[data-excerpt], [data-row]")];
  const runs = (track) => belongs(track.row, Object.keys(chosen).filter((kind) => kind === "excerpt"));

  let context = null;
  let playing = false;
  let from = 0; // position where the sources started, or stand
  let startedAt = 0; // the same on the clock
  let asked = 0; // number of the latest start, which may have to wait for the clock

  const clamp = (value) => Math.min(duration, Math.max(0, value));
  const clock = (seconds) => {
    const whole = Math.floor(seconds + 1e-6);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };
  const position = () => (playing ? clamp(from + Math.max(0, context.currentTime - startedAt)) : from);
  const shown = () => tracks.filter((track) => !track.row.hidden);
  const audible = (track) => {
    if (track.row.hidden) return false;
    return shown().some((other) => other.mix.soloed) ? track.mix.soloed : !track.mix.muted;
  };

  function openContext() {
    if (context) return;
    try {
      context = new AudioContext({ sampleRate: settings.rate });
    } catch {
      context = new AudioContext(); // a device with its own idea of rates: resampled alike for all
    }
    for (const track of tracks) {
      track.gain = new GainNode(context, { gain: audible(track) ? 1 : 0 });
      track.gain.connect(context.destination);
    }
  }

  function stopSources() {
    for (const track of tracks) {
      if (!track.source) continue;
      track.source.stop();
      track.source.disconnect();
      track.source = null;
    }
  }

  function startSources() {
    stopSources();
    startedAt = context.currentTime + LEAD;
    for (const track of tracks.filter(runs)) {
      track.source = new AudioBufferSourceNode(context, { buffer: track.buffer });
      track.source.connect(track.gain);
      track.source.start(startedAt, from);
    }
  }

  async function start() {
    const turn = ++asked;
    openContext();
    if (from >= duration - 0.01) from = 0;
    try {
      if (context.state !== "running") await context.resume();
    } catch (error) {
      say(`The browser does not play: ${error.message}`, true);
      return;
    }
    if (turn !== asked) return;
    startSources();
    playing = true;
    show();
    requestAnimationFrame(follow);
  }

  function pause() {
    ++asked;
    from = position();
    playing = false;
    stopSources();
    show();
  }

  const toggle = () => (play.disabled ? undefined : playing ? pause() : start());

  function seek(to) {
    if (play.disabled) return;
    const target = clamp(to);
    if (playing && target >= duration) pause();
    from = target;
    if (playing) startSources();
    show();
  }

  function follow() {
    if (!playing) return;
    if (position() >= duration) {
      pause();
      from = 0;
    } else {
      requestAnimationFrame(follow);
    }
    show();
  }

  function noteOf(hz) {
    const exact = 69 + 12 * Math.log2(hz / 440);
    const note = Math.round(exact), cents = Math.round(100 * (exact - note));
    return `${NOTES[note % 12]}${Math.floor(note / 12) - 1} ${cents < 0 ? "−" : "+"}${Math.abs(cents)} ct`;
  }

  const readouts = [...document.querySelectorAll("[data-now]")];
  const panels = [...document.querySelectorAll("[data-panel]")];

  const playheads = [...document.querySelectorAll(".playhead")];
  const write = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };

  function show() {
    const at = position();
    // What is heard now left the clock a while ago, on wireless headphones a long one.
    const late = playing ? context.outputLatency || 0 : 0;
    const seen = clamp(at - late);
    report.classList.toggle("playing", playing);
    // Moved as layers of their own: nothing beneath them is painted anew.
    const shift = `translateX(${duration > 0 ? (100 * seen) / duration : 0}%)`;
    for (const head of playheads) head.style.transform = shift;
    write(playLabel, playing ? "Pause" : "Play");
    write(time.firstChild, clock(settings.start + seen));
    seekBar.value = at;
    const spoken = `${clock(settings.start + at)} of ${clock(settings.start + duration)}`;
    if (seekBar.getAttribute("aria-valuetext") !== spoken) seekBar.setAttribute("aria-valuetext", spoken);
    const pitches = settings.pitches[panels.find((panel) => !panel.hidden).dataset.panel];
    const frame = Math.round(seen / pitches.frame_s);
    for (const place of readouts) {
      const hz = pitches.hz[place.dataset.now][frame];
      write(place, hz > 0 ? noteOf(hz) : "");
    }
  }

  function setGains() {
    const heard = new Set();
    for (const track of tracks) {
      const on = audible(track);
      track.row.classList.toggle("off", !on);
      track.solo.setAttribute("aria-pressed", track.mix.soloed);
      track.mute.setAttribute("aria-pressed", track.mix.muted);
      if (track.gain) track.gain.gain.setTargetAtTime(on ? 1 : 0, context.currentTime, FADE);
      const voice = track.row.style.getPropertyValue("--colour");
      if (on) heard.add(voice);
    }
    const all = heard.has("var(--ink)") && heard.size === 1;
    for (const curve of document.querySelectorAll("[data-curve]")) {
      curve.classList.toggle("off", !all && !heard.has(`var(--${curve.dataset.curve})`));
    }
  }

  function solo(track, add) {
    const was = track.mix.soloed;
    if (!add) for (const mix of Object.values(mixes)) mix.soloed = false;
    track.mix.soloed = !was;
    setGains();
  }

  function mute(track) {
    track.mix.muted = !track.mix.muted;
    setGains();
  }

  function allStems() {
    for (const mix of Object.values(mixes)) {
      mix.soloed = false;
      mix.muted = mix.mutedAtFirst;
    }
    setGains();
  }

  function choose(kind, value) {
    if (chosen[kind] === value) return;
    chosen[kind] = value;
    const kinds = Object.keys(chosen);
    for (const node of scoped) node.hidden = !belongs(node, kinds);
    for (const option of options) {
      const pressed = chosen[option.dataset.choose] === option.value;
      option.setAttribute("aria-pressed", pressed);
      const bar = option.parentElement; // on a narrow page it scrolls
      if (pressed) bar.scrollLeft = option.offsetLeft - bar.offsetLeft - (bar.clientWidth - option.offsetWidth) / 2;
    }
    if (kind === "excerpt") {
      from = 0;
      if (playing) startSources();
    }
    setGains();
    show();
  }

  function chooseNext(kind, back) {
    const values = options.filter((option) => option.dataset.choose === kind).map((option) => option.value);
    const place = values.indexOf(chosen[kind]) + (back ? values.length - 1 : 1);
    choose(kind, values[place % values.length]);
  }

  for (const track of tracks) {
    track.solo.addEventListener("click", (event) => solo(track, event.shiftKey || event.ctrlKey || event.metaKey));
    track.mute.addEventListener("click", () => mute(track));
  }
  for (const option of options) option.addEventListener("click", () => choose(option.dataset.choose, option.value));
  play.addEventListener("click", toggle);
  reset.addEventListener("click", allStems);
  seekBar.addEventListener("input", () => seek(Number(seekBar.value)));

  for (const lane of document.querySelectorAll("[data-lane]")) {
    const to = (event) => {
      const box = lane.getBoundingClientRect();
      seek((duration * (event.clientX - box.left - lane.clientLeft)) / lane.clientWidth);
    };
    lane.addEventListener("click", to);
    lane.addEventListener("pointermove", (event) => {
      if (event.buttons === 1 && event.pointerType === "mouse") to(event);
    });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = event.target;
    const presses = at.closest("button, summary, a"); // these do something of their own with Space
    const scrolls = at.closest(".scroll, pre"); // and these with arrows
    const step = event.shiftKey ? 1 : 5;
    let action = null;
    if (event.key === " " && !presses) action = toggle;
    else if (scrolls) return;
    else if (event.key === "ArrowLeft") action = () => seek(position() - step);
    else if (event.key === "ArrowRight") action = () => seek(position() + step);
    else if (event.key === "Home") action = () => seek(0);
    else if (event.key === "End") action = () => seek(duration);
    else if (event.key === "0") action = allStems;
    else if (/^[1-9]$/.test(event.key) && shown()[event.key - 1]) action = () => solo(shown()[event.key - 1], false);
    for (const kind in chosen) if (event.key.toLowerCase() === kind[0]) action = () => chooseNext(kind, event.shiftKey);
    if (!action || play.disabled) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow")) action();
  });

  function say(text, failed = false) {
    status.textContent = text;
    status.classList.toggle("failed", failed);
  }

  function bytesOf(text) {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes.buffer;
  }

  async function load() {
    // Decoding here, before anything may sound: the audio clock itself opens with the first press.
    const decoder = new OfflineAudioContext(1, 1, settings.rate);
    for (const [index, track] of tracks.entries()) {
      say(`Loading sound ${index + 1} of ${tracks.length} …`);
      const data = track.row.querySelector("[data-sound]");
      track.buffer = await decoder.decodeAudioData(bytesOf(data.textContent));
      data.remove();
    }
    for (const track of tracks) track.solo.disabled = track.mute.disabled = false;
    play.disabled = seekBar.disabled = reset.disabled = false;
    say("");
    show();
  }

  setGains();
  const ready = load().catch((error) => say(`The sounds cannot be decoded: ${error.message}`, true));
  return { tracks, ready, position, seek, isPlaying: () => playing, context: () => context };
})();
