"use strict";
// All stems run on one audio clock: every play and every seek starts all of them at one instant
// from one position, and solo, mute and volume only turn their gains, so none can drift from the
// others. Where a page has several excerpts, those of the chosen one run, with the stems of all rows.
window.umssReport = (() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const { duration, rate } = settings;
  const LEAD = 0.03; // seconds between asking for a start and the start, to have all in place
  const FADE = 0.008; // time constant of gains: no clicks
  const PIECES = 16; // of stretched sound that are made at once, half a second
  const AHEAD = 2; // seconds of stretched sound that are ready: browsers wake hidden pages once a second
  const SPEEDS = [1, 0.9, 0.8, 0.7, 0.6, 0.5];

  const mixes = {}; // solo, mute and volume by place: the soprano's are the same whichever row is chosen
  const tracks = [...document.querySelectorAll("[data-track]")].map((row) => {
    const part = (name) => row.querySelector(`[data-${name}]`);
    const muted = part("mute").getAttribute("aria-pressed") === "true";
    const mix = (mixes[row.dataset.place] ??= { muted, mutedAtFirst: muted, soloed: false, volume: 1 });
    return { row, mute: part("mute"), solo: part("solo"), volume: part("volume"), mix, buffer: null, gain: null, sources: [] };
  });

  const chosen = {}; // by kind of choice
  const options = [...document.querySelectorAll("[data-choose]")];
  for (const option of options) chosen[option.dataset.choose] ??= option.value;
  const belongs = (node, kinds) => kinds.every((kind) => !(kind in node.dataset) || node.dataset[kind] === chosen[kind]);
  const scoped = [...document.querySelectorAll("[data-excerpt], [data-row]")];
  const runs = (track) => belongs(track.row, Object.keys(chosen).filter((kind) => kind === "excerpt"));

  const listeners = []; // told after every change
  const changed = () => listeners.forEach((listener) => listener());
  let say = () => {};
  let context = null;
  let isReady = false;
  let playing = false;
  let from = 0; // position where the sources started, or stand
  let startedAt = 0; // the same on the clock
  let asked = 0; // number of the latest start, which may have to wait for the clock
  let speed = 1;
  let loop = { from: 0, to: duration, on: false };
  let stream = null; // stretched sound on its way
  let filledTo = 0; // how far, in seconds after the start

  const clamp = (value) => Math.min(duration, Math.max(0, value));
  // Where the sound is after so many seconds of playing; null beyond the end.
  function placeAfter(seconds) {
    const straight = from + seconds * speed;
    if (loop.on && from < loop.to && straight >= loop.to) return loop.from + ((straight - loop.to) % (loop.to - loop.from));
    return straight < duration ? straight : null;
  }
  const position = () => (playing ? (placeAfter(Math.max(0, context.currentTime - startedAt)) ?? duration) : from);
  const shown = () => tracks.filter((track) => !track.row.hidden);
  const audible = (track) => {
    if (track.row.hidden) return false;
    return shown().some((other) => other.mix.soloed) ? track.mix.soloed : !track.mix.muted;
  };
  const gainOf = (track) => (audible(track) ? track.mix.volume ** 2 : 0); // as loudness is heard

  function openContext() {
    if (context) return;
    try {
      context = new AudioContext({ sampleRate: rate });
    } catch {
      context = new AudioContext(); // a device with its own idea of rates: resampled alike for all
    }
    for (const track of tracks) {
      track.gain = new GainNode(context, { gain: gainOf(track) });
      track.gain.connect(context.destination);
    }
  }

  function stopSources() {
    stream = null;
    for (const track of tracks) {
      for (const source of track.sources) {
        source.stop();
        source.disconnect();
      }
      track.sources = [];
    }
  }

  function addSource(track, buffer, at, offset) {
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(track.gain);
    source.start(at, offset);
    source.addEventListener("ended", () => (track.sources = track.sources.filter((other) => other !== source)));
    track.sources.push(source);
  }

  function startSources() {
    stopSources();
    startedAt = Math.ceil((context.currentTime + LEAD) * rate) / rate; // pieces meet on whole samples
    const running = tracks.filter(runs);
    if (speed === 1 && !loop.on) {
      for (const track of running) addSource(track, track.buffer, startedAt, from);
      return;
    }
    const heard = () => (running.some(audible) ? running.filter(audible) : running);
    stream = umssStretch.open(context, running, rate, speed, placeAfter, heard);
    stream.tracks = running;
    filledTo = 0;
    fill();
  }

  // Keeps enough stretched sound ready; begins anew where the browser let it run out.
  function fill() {
    if (!playing || !stream) return;
    const now = context.currentTime - startedAt;
    if (filledTo > 0 && now > filledTo && placeAfter(now) !== null) {
      from = position();
      startSources();
      return;
    }
    while (stream && filledTo < now + AHEAD) {
      const buffers = stream.next(PIECES);
      if (!buffers) {
        stream = null;
        return;
      }
      for (const [index, track] of stream.tracks.entries()) addSource(track, buffers[index], startedAt + filledTo, 0);
      filledTo += buffers[0].length / rate;
    }
  }
  setInterval(fill, 200);

  async function start() {
    const turn = ++asked;
    openContext();
    if (from >= duration - 0.01) from = 0;
    const late = setTimeout(() => say("The browser waits for something to play on: is a loudspeaker connected?", true), 3000);
    try {
      if (context.state !== "running") await context.resume();
    } catch (error) {
      say(`The browser does not play: ${error.message}`, true);
      return;
    } finally {
      clearTimeout(late);
    }
    if (turn !== asked) return;
    say("");
    playing = true;
    startSources();
    changed();
    requestAnimationFrame(follow);
  }

  function pause() {
    ++asked;
    from = position();
    playing = false;
    stopSources();
    changed();
  }

  const toggle = () => (!isReady ? undefined : playing ? pause() : start());

  // Does something to how it plays, and goes on from where it is.
  function anew(change) {
    from = position();
    change();
    if (playing) startSources();
    changed();
  }

  function seek(to) {
    if (!isReady) return;
    const target = clamp(to);
    if (playing && target >= duration) pause();
    from = target;
    if (playing) startSources();
    changed();
  }

  const setSpeed = (value) => anew(() => (speed = value));

  // Points of the loop in seconds; one that would pass the other moves that to the end of the page.
  function setLoop(ends) {
    anew(() => {
      loop = { ...loop, ...ends };
      const least = Math.min(0.1, duration);
      if (loop.to - loop.from < least) {
        if ("from" in ends) loop.to = duration;
        else loop.from = 0;
      }
      loop.from = Math.min(loop.from, duration - least);
      loop.to = Math.max(loop.to, loop.from + least);
    });
  }

  function follow() {
    if (!playing) return;
    if (position() >= duration) {
      pause();
      from = 0;
    } else {
      requestAnimationFrame(follow);
    }
    changed();
  }

  function setGains() {
    for (const track of tracks) {
      if (track.gain) track.gain.gain.setTargetAtTime(gainOf(track), context.currentTime, FADE);
    }
    changed();
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

  function setVolume(track, volume) {
    track.mix.volume = volume;
    setGains();
  }

  function reset() {
    for (const mix of Object.values(mixes)) Object.assign(mix, { soloed: false, muted: mix.mutedAtFirst, volume: 1 });
    setGains();
  }

  function choose(kind, value) {
    if (chosen[kind] === value) return;
    chosen[kind] = value;
    const kinds = Object.keys(chosen);
    for (const node of scoped) node.hidden = !belongs(node, kinds);
    if (kind === "excerpt") {
      from = 0;
      if (playing) startSources();
    }
    setGains();
  }

  function bytesOf(text) {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes.buffer;
  }

  async function load() {
    // Decoding here, before anything may sound: the audio clock itself opens with the first press.
    const decoder = new OfflineAudioContext(1, 1, rate);
    for (const [index, track] of tracks.entries()) {
      say(`Loading sound ${index + 1} of ${tracks.length} …`);
      const data = track.row.querySelector("[data-sound]");
      track.buffer = await decoder.decodeAudioData(bytesOf(data.textContent));
      data.remove();
    }
    isReady = true;
    say("");
    changed();
  }

  // With the page's own controls in place: what they are told, and how words reach the reader.
  let ready = null;
  function begin(listener, tell) {
    listeners.push(listener);
    say = tell;
    changed();
    ready = load().catch((error) => say(`The sounds cannot be decoded: ${error.message}`, true));
  }

  return {
    tracks, settings, options, chosen, mixes, SPEEDS, begin, position, seek, fill, toggle, solo, mute, setVolume, reset, choose, setSpeed, setLoop, audible, shown,
    get ready() { return ready; },
    isReady: () => isReady,
    isPlaying: () => playing,
    context: () => context,
    speed: () => speed,
    loop: () => loop,
  };
})();
