"""The band above the model's: whose it is, and that nothing of it is lost."""

import functools

import numpy as np
import pytest
import soundfile
from stub_engine import StubEngine

from umss_jax import ranges
from umss_jax.audio.resampling import resample_whole, resampled_samples
from umss_jax.config import AudioConfig
from umss_jax.errors import UsageError
from umss_jax.separation.config import HighBandConfig, SeparationConfig
from umss_jax.separation.high_band import BandSharer
from umss_jax.separation.high_masks import Plan
from umss_jax.separation.stems import StemOptions, separate_file
from umss_jax.separation.stream import separate_array

RATE = 44_100
F0_HZ = (523.0, 349.0, 220.0, 131.0)
SLOPES_DB = (-17.0, -15.0, -18.0, -16.0)  # per octave
SHORT = SeparationConfig(segment_s=1.0, overlap=0.25)
AS_BEFORE = SeparationConfig(segment_s=1.0, overlap=0.25, full_band=False)


def band(sound, low_hz, high_hz, rate=RATE):
    spectrum = np.fft.rfft(sound)
    places = np.fft.rfftfreq(sound.shape[-1], 1 / rate)
    spectrum[..., (places < low_hz) | (places >= high_hz)] = 0
    return np.fft.irfft(spectrum, sound.shape[-1])


def level_db(sound):
    return 10 * np.log10(np.square(sound, dtype=np.float64).sum(axis=-1))


def breath(samples, slope_db, seed, rate=RATE):
    """Noise whose spectrum falls from 1 kHz on."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(samples, 1 / rate) / 1000, 1))
    return np.fft.irfft(spectrum * 10 ** (slope_db * octaves / 20), samples)


def tone(t, f0_hz, slope_db=0.0, highest_hz=16_000):
    """Harmonics whose levels fall from 1 kHz on."""
    levels = slope_db * np.log2(np.maximum(np.arange(1, highest_hz // f0_hz) * f0_hz / 1000, 1))
    turn, harmonic, total = np.exp(2j * np.pi * f0_hz * t), 1.0, 0.0
    for level in levels:
        harmonic = harmonic * turn
        total = total + 10 ** (level / 20) * harmonic.imag
    return total


def sung_quartet(rate=RATE, seconds=2.0):
    """Steady harmonics and breath, and a hiss of every voice at a time of its own."""
    return _sung_quartet(rate, seconds).copy()


@functools.cache
def _sung_quartet(rate, seconds):
    samples = round(rate * seconds)
    t = np.arange(samples) / rate
    voices = []
    for voice, (f0_hz, slope) in enumerate(zip(F0_HZ, SLOPES_DB, strict=True)):
        noise = 0.1 * breath(samples, slope, voice, rate)
        hiss = 2.0 * breath(samples, -3.0 - voice, 10 + voice, rate)
        hiss *= np.abs(t - (voice + 0.5) * seconds / 4) < 0.05
        voices.append(0.02 * (tone(t, f0_hz, slope, min(16_000, rate / 2)) + noise + hiss))
    return np.float32(voices)


def model_band(sound, rate):
    """What the model would separate of it, and back."""
    samples = resampled_samples(sound.shape[1], rate, 16_000)
    return resample_whole(
        resample_whole(sound, rate, 16_000, samples), 16_000, rate, sound.shape[1]
    )


def pitches(samples, rate, f0_hz=F0_HZ):
    frames = -(-resampled_samples(samples, rate, 16_000) // 256)
    return np.repeat(np.float32(f0_hz)[:, None], frames, axis=1)


def shared(recording, stems, rate=RATE, f0_hz=None, blocks=(65_536, 30_000), config=None):
    """Recording ``[C, N]`` and stems of the model's band ``[J, C, N]``, through blocks."""
    samples = recording.shape[1]
    f0_hz = pitches(samples, rate) if f0_hz is None else f0_hz
    flat = stems.reshape(-1, samples)
    plan = Plan(rate, len(recording), samples, float(np.abs(recording).max()), AudioConfig())
    sharer = BandSharer(plan._replace(config=config or HighBandConfig()), f0_hz)
    fed = [
        [sound[:, k : k + block] for k in range(0, samples, block)]
        for sound, block in zip((recording, flat), blocks, strict=True)
    ]
    full = np.concatenate(list(sharer.share_out(*fed)), axis=1)
    return full.reshape(stems.shape), sharer


def with_true_low_band(voices, rate=RATE, **options):
    recording = voices.sum(axis=0, keepdims=True)
    low = model_band(voices, rate)[:, None]
    full, _ = shared(recording, low, rate, **options)
    return recording, low[:, 0], full[:, 0]


# --- whose it is


@pytest.mark.parametrize("rate", [32_000, 44_100, 96_000])
def test_every_voice_gets_its_energy_back(rate):
    voices = sung_quartet(rate)
    _, low, full = with_true_low_band(voices, rate)
    true, found = band(voices, 8000, rate / 2, rate), band(full, 8000, rate / 2, rate)
    assert np.abs(level_db(found) - level_db(true)).max() < 3
    assert (level_db(full - voices) < level_db(low - voices) - 2).all()


def test_a_consonant_goes_to_the_voice_that_has_it_below():
    voices = sung_quartet()
    _, _, full = with_true_low_band(voices)
    high = band(full, 9000, RATE / 2)
    for voice in range(4):
        middle = round((voice + 0.5) * len(high[0]) / 4)
        part = high[:, middle - 1500 : middle + 1500]
        assert np.argmax(level_db(part)) == voice
        assert level_db(part)[voice] > level_db(part.sum(axis=0)) - 1.5


def test_harmonics_tell_voices_of_one_level_apart():
    t = np.arange(2 * RATE) / RATE
    known_hz = (701.0, 613.0, 523.0, 419.0)
    voices = np.float32([0.01 * tone(t, f0_hz) for f0_hz in known_hz])
    f0_hz = pitches(len(t), RATE, known_hz)
    comb = HighBandConfig(comb=0.9)
    _, _, by_comb = with_true_low_band(voices, f0_hz=f0_hz, config=comb)
    _, _, by_level = with_true_low_band(voices, f0_hz=0 * f0_hz, config=comb)
    true = band(voices, 8500, 11_000)
    errors = [level_db(band(one, 8500, 11_000) - true) for one in (by_comb, by_level)]
    assert (errors[0] < errors[1] - 3).all()


def test_shares_go_over_smoothly_from_one_band_to_the_other():
    voices = sung_quartet()
    recording, _, full = with_true_low_band(voices)
    below, above = (
        level_db(band(full, low, low + 700)) - level_db(band(recording, low, low + 700))
        for low in (7000, 8000)
    )
    truth = [
        level_db(band(voices, low, low + 700)) - level_db(band(recording, low, low + 700))
        for low in (7000, 8000)
    ]
    assert np.abs((above - below) - (truth[1] - truth[0])).max() < 2.5


@pytest.mark.parametrize("voice", range(4))
def test_a_voice_alone_keeps_all_of_it(voice):
    voices = sung_quartet()
    voices[[other for other in range(4) if other != voice]] = 0
    f0_hz = pitches(voices.shape[1], RATE) * (np.arange(4) == voice)[:, None]
    recording, _, full = with_true_low_band(voices, f0_hz=f0_hz)
    assert level_db(full[voice] - recording[0]) < level_db(band(recording[0], 8000, 22_050)) - 20
    assert np.abs(np.delete(full, voice, axis=0)).max() < 1e-3 * np.abs(recording).max()


# --- what stays in the residual


def test_what_nobody_sings_below_is_sung_by_nobody_above():
    voices = sung_quartet()
    clapping = np.float32(0.2 * breath(voices.shape[1], -3.0, 5))
    recording = (voices.sum(axis=0) + clapping)[None]
    low = model_band(voices, RATE)[:, None]
    full, sharer = shared(recording, low)
    left = recording - full.sum(axis=0)
    assert level_db(band(left[0], 8000, RATE / 2)) > level_db(band(clapping, 8000, RATE / 2)) - 1
    energies = [np.square(model_band(x, RATE)).sum() for x in (clapping[None], recording)]
    assert sharer.residual == pytest.approx(energies[0] / energies[1], rel=1e-3)
    full, sharer = shared(recording, 0 * low)
    assert np.abs(full).max() == 0
    assert sharer.residual == pytest.approx(1)


@pytest.mark.parametrize("hz", [10_000, 15_734])
def test_a_whistle_louder_than_singing_stays_in_the_residual(hz):
    voices = band(sung_quartet(), 0, 7000).astype(np.float32)
    whistle = 0.3 * np.sin(2 * np.pi * hz * np.arange(voices.shape[1]) / RATE)
    recording = (voices.sum(axis=0) + whistle).astype(np.float32)[None]
    full, sharer = shared(recording, model_band(voices, RATE)[:, None])
    assert (level_db(band(full[:, 0], 8500, RATE / 2)) < level_db(whistle) - 25).all()
    assert sharer.residual < 1e-3  # air above 8 kHz is no accompaniment


def test_silence_stays_silent():
    voices = sung_quartet()
    voices[:, 20_000:60_000] = 0
    _, _, full = with_true_low_band(voices)
    assert np.abs(full[:, 23_000:57_000]).max() < 1e-6 * np.abs(voices).max()


# --- nothing lost, nothing moved


@pytest.mark.parametrize("hz", [0, 7200, 7700, 8000, 8300])
def test_what_is_near_the_border_is_neither_doubled_nor_lost(hz):
    """A click of one voice, or a short burst around the border."""
    t = (np.arange(RATE) - RATE // 2) / RATE
    burst = np.exp(-0.5 * (t / 0.0001) ** 2) * np.cos(2 * np.pi * hz * t) if hz else 1.0 * (t == 0)
    voices = np.float32(0.3 * np.stack([burst, 0 * burst, 0 * burst, 0 * burst]))
    recording, _, full = with_true_low_band(voices, f0_hz=np.zeros((4, 63), np.float32))
    assert level_db(full[0] - recording[0]) < level_db(recording[0]) - 20
    assert np.abs(full[1:]).max() < 1e-3


def test_the_image_of_a_voice_stays_in_its_place():
    voices = sung_quartet()
    gains = np.float32([[1.0, 0.5]])
    stems = voices[:, None] * gains[..., None]
    low = np.stack([model_band(one, RATE) for one in stems])
    stereo, _ = shared(stems.sum(axis=0), low)
    np.testing.assert_allclose(stereo[:, 1], 0.5 * stereo[:, 0], atol=1e-6)
    assert (level_db(band(stereo[:, 0], 9000, RATE / 2)) > -50).all()
    inverted = np.stack([model_band(one * np.float32([[1], [-1]]), RATE) for one in stems])
    apart, _ = shared((stems * np.float32([[[1], [-1]]])).sum(axis=0), inverted)
    np.testing.assert_allclose(apart, stereo * np.float32([[[1], [-1]]]), atol=1e-6)


@pytest.mark.parametrize("blocks", [(1000, 65_536), (88_200, 777), (88_200, 88_200), (4096, 4097)])
def test_blocks_do_not_change_the_result(blocks):
    voices = sung_quartet()
    _, _, whole = with_true_low_band(voices)
    _, _, pieces = with_true_low_band(voices, blocks=blocks)
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 500, 1411, 20_000])
def test_short_recordings(samples):
    recording = np.random.default_rng(0).uniform(-0.4, 0.4, (2, samples)).astype(np.float32)
    low = np.stack([model_band(recording, RATE) / 4] * 4)
    full, _ = shared(recording, low)
    assert full.shape == (4, 2, samples)
    assert np.isfinite(full).all()


# --- in separation


def singing(rate, seconds=1.6):
    voices = sung_quartet(rate, seconds)
    left = voices.sum(axis=0)
    return np.stack([left, 0.7 * left[::-1]])


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 16_001, 22_050, 44_100, 48_000, 192_000])
def test_rates(rate):
    audio = singing(rate, 0.6)
    full, before = (
        separate_array(audio, rate, StubEngine(), config) for config in (SHORT, AS_BEFORE)
    )
    for result in (full, before):
        total = result.stems.sum(axis=0, dtype=np.float64) + result.residual
        np.testing.assert_allclose(total, audio, atol=1e-6)
    if rate <= 16_000:
        np.testing.assert_array_equal(full.stems, before.stems)
        np.testing.assert_array_equal(full.residual, before.residual)
    else:
        assert level_db(full.residual).max() < level_db(before.residual).min() - 10


@pytest.mark.parametrize("full_band", [True, False])
def test_file_and_array_agree(tmp_path, full_band):
    path, audio = tmp_path / "choir.wav", singing(44_100)
    soundfile.write(path, audio.T, 44_100, subtype="FLOAT")
    config = SeparationConfig(1.0, 0.25, full_band=full_band)
    track = separate_file(path, tmp_path, StubEngine(), config, StemOptions(float32=True))
    in_memory = separate_array(audio, 44_100, StubEngine(), config)
    for name, stem in (*in_memory.voices.items(), ("residual", in_memory.residual)):
        written = soundfile.read(track.folder / f"{name}.wav", dtype="float32")[0].T
        np.testing.assert_allclose(written, stem, atol=1e-6)
    assert track.manifest["options"]["full_band"] is full_band
    assert track.likeness.residual == pytest.approx(in_memory.likeness.residual, abs=1e-6)
    assert track.likeness.residual < 1e-6
    has_air = level_db(band(in_memory.residual, 9000, 22_050)) > -60
    assert has_air.all() != full_band


def test_refuses_what_is_no_yes_or_no():
    with pytest.raises(UsageError, match="full_band is 'no': give True or False"):
        SeparationConfig(full_band="no")


def test_defaults_are_in_their_ranges():
    for field, value in vars(HighBandConfig()).items():
        allowed = ranges.of_field("HighBandConfig", field)
        for one in value if isinstance(value, tuple) else (value,):
            assert allowed.low <= one <= allowed.high, field
