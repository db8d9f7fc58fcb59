"use strict";
// Slower or faster at the same pitch, and loops without a click, by overlap and add of short pieces
// of the sounds (WSOLA: Verhelst and Roelands, ICASSP 1993). Where a piece comes from is decided
// once for all tracks, by what is heard of them, so that they stay in step to the sample.
const umssStretch = (() => {
  const HOP_S = 0.03; // length of a piece, and of the fade into the next
  const REACH_S = 0.015; // how far a piece may be from its place: a period of the lowest bass
  const COARSE = 6; // samples between the places that are tried first

  // Sum of tracks, [length] from a sample on; silence outside of them.
  function mixed(tracks, first, length) {
    const sum = new Float32Array(length);
    for (const { buffer } of tracks) {
      for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
        const data = buffer.getChannelData(channel);
        const end = Math.min(length, data.length - first);
        for (let i = Math.max(0, -first); i < end; i++) sum[i] += data[first + i];
      }
    }
    return sum;
  }

  // Where, within reach of a place, the sound goes on best from another one.
  function bestPlace(tracks, natural, place, hop, reach) {
    const wanted = mixed(tracks, natural, hop);
    const around = mixed(tracks, place - reach, hop + 2 * reach);
    const alike = (shift, step) => {
      let product = 0, power = 1e-9;
      for (let i = 0; i < hop; i += step) {
        product += wanted[i] * around[shift + i];
        power += around[shift + i] ** 2;
      }
      return product / Math.sqrt(power);
    };
    const search = (from, to, step) => {
      let best = from, most = -Infinity;
      for (let shift = from; shift <= to; shift += step) {
        const value = alike(shift, step);
        if (value > most) [best, most] = [shift, value];
      }
      return best;
    };
    const near = search(0, 2 * reach, COARSE);
    return place - reach + search(Math.max(0, near - COARSE), Math.min(2 * reach, near + COARSE), 1);
  }

  // Pieces of all tracks in turn. `placeOf(seconds)` says which position is due after so many
  // seconds of playing, null at the end; `heard()` which tracks decide.
  function open(context, tracks, rate, speed, placeOf, heard) {
    const hop = Math.round(HOP_S * rate), reach = Math.round(REACH_S * rate);
    const fade = Float32Array.from({ length: hop }, (_, i) => 0.5 - 0.5 * Math.cos((Math.PI * (i + 0.5)) / hop));
    let made = 0, natural = null; // where the sound would go on

    function nextPlace() {
      const due = placeOf((made * hop) / rate);
      if (due === null) return null;
      const place = Math.round(due * rate);
      if (natural === null || Math.abs(natural - place) <= (speed === 1 ? reach : 0)) return natural ?? place;
      return bestPlace(heard(), natural, place, hop, reach);
    }

    function add(target, data, first, at, weigh) {
      const end = Math.min(hop, data.length - first);
      for (let i = Math.max(0, -first); i < end; i++) target[at + i] += data[first + i] * weigh(i);
    }

    // The next pieces as one buffer a track; null at the end.
    function next(pieces) {
      const places = [];
      while (places.length < pieces) {
        const place = nextPlace();
        if (place === null) break;
        places.push([natural ?? place, place]);
        natural = place + hop;
        made++;
      }
      if (!places.length) return null;
      return tracks.map(({ buffer }) => {
        const made = new AudioBuffer({ numberOfChannels: buffer.numberOfChannels, length: places.length * hop, sampleRate: rate });
        for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
          const data = buffer.getChannelData(channel), target = made.getChannelData(channel);
          for (const [index, [from, to]] of places.entries()) {
            if (from === to) add(target, data, to, index * hop, () => 1);
            else {
              add(target, data, from, index * hop, (i) => 1 - fade[i]);
              add(target, data, to, index * hop, (i) => fade[i]);
            }
          }
        }
        return made;
      });
    }

    return { next };
  }

  return { open };
})();
