"""Recordings that are refused: on one line, with the file and a remedy."""

import pytest

from umss_jax.audio.recording import scan
from umss_jax.errors import AudioError


def refused(path, *words):
    with pytest.raises(AudioError) as caught:
        scan(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    assert caught.value.remedy
    for word in words:
        assert word in line
    return line
