"""A training run of a few units that knows the pitches, in a process of its own or in the test's.

Usage: small_run.py FOLDER [key=value …]; FOLDER holds what `prepare` made.
"""

import os
import sys
from pathlib import Path

import jax
import numpy as np
import soundfile
from small_engine import KnownPitch

from umss_jax import model
from umss_jax.config import ModelConfig
from umss_jax.config_tree import build
from umss_jax.train import f0_cache as analysis_cache
from umss_jax.train import sharding as parallel
from umss_jax.train.config import TrainConfig
from umss_jax.train.settings import open_run
from umss_jax.weights import store

TREE = {
    "name": "small",
    "strategy": "umss",
    "batch": 2,
    "epoch_examples": 6,
    "epochs": [3],
    "tensorboard": False,
    "data": {"validation_examples": 3},
    "loss": {"fft_sizes": [256, 64]},
    "optimiser": {"learning_rate": 1e-3},
    "model": {
        "audio": {"example_samples": 4096},
        "encoder": {"hidden": 8, "latent": 4},
        "decoder": {"hidden": 8, "noise_bands": 6, "line_spectral_frequencies": 6},
        "synth": {"harmonics": 8},
    },
}


def sing(folder):
    """The recordings of two pieces, always the same."""
    rng = np.random.default_rng(0)
    for piece in ("first", "second"):
        (folder / "choir" / piece).mkdir(parents=True)
        for voice, hz in (("soprano", 440), ("alto", 330), ("tenor", 220), ("bass", 110)):
            time_s = np.arange(24_000) / 16_000
            tone = 0.1 * np.sign(np.sin(2 * np.pi * hz * time_s)) + 0.01 * rng.normal(size=24_000)
            soundfile.write(folder / "choir" / piece / f"{voice}.wav", tone, 16_000)


def prepare(folder):
    """Recordings and weights; the F0 networks are all zeros, since nothing asks them."""
    sing(folder)
    config = build(ModelConfig, TREE["model"])
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda key: model.init_variables(key, config), key)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    draw = jax.jit(lambda key: model.init_variables(key, config, ("encoder", "decoder")))
    drawn = draw(key)["params"]
    variables["params"].update(jax.tree.map(np.asarray, drawn))
    store.save(folder / "start.safetensors", variables, config)


def settings(folder, *overrides) -> TrainConfig:
    """The configuration of the run in a prepared folder."""
    sets = {"folders": [str(folder / "choir")]}
    data = {**TREE["data"], "train": sets, "validation": sets}
    tree = {**TREE, "data": data, "weights": str(folder / "start.safetensors")}
    return open_run(tree, overrides)


def train(folder, *overrides):
    """Trains in ``folder/<name>``."""
    from umss_jax.train.run import train

    config = settings(folder, *overrides)
    return train(config, folder / config.name, quiet=True)


if __name__ == "__main__":
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_CACHE"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    analysis_cache.ModelEngine = KnownPitch
    parallel.start_hosts()
    print("ready", flush=True)
    train(Path(sys.argv[1]), *sys.argv[2:])
