"""Strict JAX settings for all tests, and the fixtures that several packages share."""

import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest
from page_browser import start_browser
from places import FIXTURES, ROOT, SHARED

jax.config.update("jax_numpy_rank_promotion", "raise")
# What one test compiled, the next one and the next run need not.
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".pytest_cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def pytest_collection_modifyitems(items):
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(
        reason=f"needs the reference data: set UMSS_SHARED (looked in {SHARED})"
    )
    for item in items:
        if "shared" in item.fixturenames or "golden" in item.fixturenames:
            item.add_marker(skip)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium without a window; for tests that are skipped where there is none."""
    driver = start_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data."""
    return SHARED


@pytest.fixture(scope="session")
def golden():
    """Loads one file of recorded reference values by its name."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(SHARED / "golden" / f"{name}.npz", allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    return load


@pytest.fixture(scope="module")
def known_pitches(tmp_path_factory):
    """Training asks no F0 network: the pitches are those that `small_run.prepare` sings."""
    from small_engine import KnownPitch

    from umss_jax.train import f0_cache as analysis_cache

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UMSS_JAX_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(analysis_cache, "ModelEngine", KnownPitch)
        yield


@pytest.fixture(scope="module")
def prepared(known_pitches, tmp_path_factory) -> Path:
    """A folder in which `small_run` can train."""
    import small_run

    made = tmp_path_factory.mktemp("runs")
    small_run.prepare(made)
    return made


@pytest.fixture
def format_1(tmp_path) -> Path:
    """What the last version of format 1 wrote: a training run and a pre-training, both cut."""
    with tarfile.open(FIXTURES / "format_1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path
