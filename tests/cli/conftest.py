"""What tests of several commands need."""

import pytest
from stub_engine import StubEngine

from umss_jax.cli import separate


@pytest.fixture
def stub(monkeypatch):
    engine = StubEngine()
    monkeypatch.setattr(separate, "load_engine", lambda *options: engine)
    return engine
