"""Pre-training: targets, altered mixes whose F0 stays true, runs that resume."""

import json
from functools import partial

import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import sung_pieces
from places import ROOT
from sung_pieces import PIECES, RATE

from umss_jax import cli
from umss_jax.config import VOICES, AudioConfig, HcqtConfig
from umss_jax.data import pitched_mixes
from umss_jax.data.config import AugmentationConfig, SetConfig
from umss_jax.data.pitched_mixes import interpolated_f0, open_pitched
from umss_jax.errors import DatasetError, UsageError
from umss_jax.pitch.targets import cross_entropies, mixture_target, pitch_targets
from umss_jax.train.settings import build_pretraining, read_tree

PitchedMixes = partial(pitched_mixes.PitchedMixes, audio=AudioConfig(), grid=HcqtConfig())
ALONE = AugmentationConfig(
    mixed_probability=1.0,
    voices_probability=(1.0, 0.0, 0.0, 0.0),
    noise_db=(-60.0, -40.0),
    room_probability=0.0,
)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    sung_pieces.write(folder)
    return folder


def test_target_is_a_gaussian_of_one_bin_on_the_pitch():
    grid = HcqtConfig()
    hz = np.asarray([grid.fmin_hz * 2 ** (100 / 60), 0.0, 20.0, 3000.0], np.float32)
    target = np.asarray(pitch_targets(jnp.asarray(hz), 1.0))
    expected = np.exp(-0.5 * (np.arange(360) - 100.0) ** 2)
    np.testing.assert_allclose(target[:, 0], expected, atol=1e-6)
    assert not target[:, 1:].any()


def test_mixture_target_is_the_largest_of_the_voices():
    hz = jnp.asarray([[[220.0, 0.0]], [[440.0, 110.0]]]).reshape(1, 2, 2)
    voices = pitch_targets(hz, 1.0)
    np.testing.assert_array_equal(mixture_target(voices)[0], np.max(voices[0], axis=0))


def test_cross_entropy_is_least_at_the_target():
    target = jnp.asarray([0.0, 1.0, 0.3])
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7)) / 3
    assert cross_entropies(target, target).mean() == pytest.approx(entropy, abs=1e-5)
    assert cross_entropies(jnp.asarray([0.1, 0.9, 0.4]), target).mean() > entropy


def test_f0_between_frames_and_at_the_borders_of_notes():
    f0_hz = np.asarray([100.0, 110.0, 0.0, 200.0])
    found = interpolated_f0(f0_hz, np.asarray([0.5, 1.4, 1.6, 2.4, 2.6, 9.0]))
    np.testing.assert_allclose(found, [105, 110, 0, 0, 200, 200])


@pytest.mark.parametrize("index", range(4))
def test_f0_of_an_altered_mix_is_that_of_its_sound(index):
    example = PitchedMixes(PIECES, 5, 2 * RATE // 256 * 256, ALONE).example(index)
    assert np.abs(example.mixture).max() == pytest.approx(1.0)
    (sung,) = np.flatnonzero(example.f0_hz_cqt.any(axis=1))
    expected = example.f0_hz_cqt[sung]
    at_22k = librosa.resample(example.mixture, orig_sr=RATE, target_sr=22_050)
    found = librosa.yin(at_22k, fmin=80, fmax=1000, sr=22_050, hop_length=256, frame_length=2048)[
        : len(expected)
    ]
    inner = slice(8, -8)  # windows of the tracker reach over the ends elsewhere
    cents = 1200 * np.abs(np.log2(found[inner] / expected[inner]))
    assert np.mean(cents < 20) > 0.95


def test_an_example_is_a_function_of_its_index():
    mixes = PitchedMixes(PIECES, 5, RATE // 256 * 256, AugmentationConfig())
    batch = mixes.batch(3, 3)
    for number in range(3):
        np.testing.assert_array_equal(mixes.example(3 + number).mixture, batch.mixture[number])
    assert not np.array_equal(batch.mixture[0], batch.mixture[1])
    other = PitchedMixes(PIECES, 6, RATE // 256 * 256, AugmentationConfig()).example(3)
    assert not np.array_equal(other.mixture, batch.mixture[0])


def test_aligned_voices_are_of_one_moment():
    """The four pitches of a piece keep their ratios, whatever the speed."""
    mixes = PitchedMixes(PIECES, 5, RATE // 256 * 256, AugmentationConfig(), aligned=True)
    for index in range(6):
        f0_hz = mixes.example(index).f0_hz_cqt
        sung = np.flatnonzero(f0_hz.any(axis=1))
        ratios = f0_hz[sung] / f0_hz[sung[0]]
        base = np.asarray([500, 300, 200, 120])[sung]
        np.testing.assert_allclose(ratios, np.tile((base / base[0])[:, None], ratios.shape[1]),
                                   rtol=1e-3)  # fmt: skip


def test_missing_f0_is_named(recordings, tmp_path):
    folder = tmp_path / "piece"
    folder.mkdir()
    for voice in VOICES:
        (folder / f"{voice}.wav").write_bytes((recordings / "piece0" / f"{voice}.wav").read_bytes())
    with pytest.raises(DatasetError, match=r"soprano\.f0\.csv"):
        open_pitched(SetConfig(folders=(str(tmp_path),)), AudioConfig())


def _run(recordings, runs, *overrides):
    return cli.run(
        ["pretrain", "--runs", str(runs), *sung_pieces.pretraining(recordings), *overrides]
    )


def _rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_that_was_cut_goes_on_bit_for_bit(recordings, tmp_path, monkeypatch, capsys):
    from umss_jax.train import pretrain
    from umss_jax.weights.store import load

    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    assert _run(recordings, tmp_path, "name=whole") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "whole" / "weights.safetensors")
    real, seen, stops = pretrain.compile_at_first_call, [], [5]

    def breaking(*arguments):
        step = real(*arguments)

        def counted(*arguments):
            seen.append(step)
            if len(seen) == stops[0]:
                raise KeyboardInterrupt
            return step(*arguments)

        return counted

    monkeypatch.setattr(pretrain, "compile_at_first_call", breaking)
    assert _run(recordings, tmp_path, "name=cut") == 130  # in the first phase
    seen, stops = [], [2 + 3]  # saved after the fourth of its six steps
    assert _run(recordings, tmp_path, "name=cut") == 130  # in the second
    monkeypatch.setattr(pretrain, "compile_at_first_call", real)
    assert _run(recordings, tmp_path, "name=cut") == 0
    whole, cut = (
        [(row["kind"], row["name"], row["step"], row["total"]) for row in _rows(tmp_path / name)]
        for name in ("whole", "cut")
    )
    assert cut == whole
    one = load(tmp_path / "whole" / "weights.safetensors").variables
    other = load(tmp_path / "cut" / "weights.safetensors").variables
    for path, value in _leaves(one):
        np.testing.assert_array_equal(value, dict(_leaves(other))[path])
    state = json.loads((tmp_path / "cut" / "state.json").read_text())
    assert state["state"] == "finished"
    assert _run(recordings, tmp_path, "name=cut", "seed=9") == 2


@pytest.mark.slow
def test_losses_fall(recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    assert _run(recordings, tmp_path, "name=long", "steps=[60, 40]", "validation_steps=20") == 0
    rows = _rows(tmp_path / "long")
    for part in ("salience", "assignment"):
        losses = [row["total"] for row in rows if (row["kind"], row["name"]) == ("valid", part)]
        assert losses[-1] < losses[0]


def _leaves(tree):
    from umss_jax.trees import flatten

    return list(flatten(tree).items())


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "experiments/pretraining").glob("*.toml")),
    ids=lambda path: path.stem,
)
def test_configurations_of_experiments(path):
    config = build_pretraining(read_tree(path))
    assert config.train.folders
    assert config.train != config.validation


def test_one_setting_of_the_model_leaves_its_networks_as_they_are():
    config = build_pretraining({}, ["model.hcqt.floor_db=-70.0", "optimiser.clip_norm=2.0"])
    assert config.model.hcqt.floor_db == -70
    assert config.model.salience_network == "small-salience"
    assert (config.optimiser.clip_norm, config.optimiser.l2_penalty) == (2.0, 0.0)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="give two of each"):
        build_pretraining({"steps": [3]})
    with pytest.raises(UsageError, match=r"no setting is called augmentation\.levl_db"):
        build_pretraining({}, ["augmentation.levl_db=3"])
    with pytest.raises(UsageError, match="no name of a run"):
        build_pretraining({"name": "../x"})
