"""The networks by name: which of them given weights are of, whatever their sizes."""

import numpy as np
import pytest

from umss_jax.config import HcqtConfig, ModelConfig, UnetConfig
from umss_jax.errors import WeightsError
from umss_jax.networks.registry import (
    ASSIGNMENT_NETWORKS,
    SALIENCE_NETWORKS,
    UNETS,
    network_shapes,
    part_shapes,
    recognise,
)
from umss_jax.trees import unflatten

NETWORKS = [
    *(("salience", name) for name in SALIENCE_NETWORKS),
    *(("assignment", name) for name in ASSIGNMENT_NETWORKS),
    *(("unet", name) for name in UNETS),
]


def zeros(shapes):
    return unflatten({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})


@pytest.mark.parametrize(("part", "name"), NETWORKS)
def test_every_network_is_recognised(part, name):
    assert recognise(zeros(network_shapes(name)), part) == name


def test_other_sizes_are_recognised_with_their_configuration():
    config = ModelConfig(
        hcqt=HcqtConfig(bins=120),
        unet=UnetConfig(fft_size=512, channels=(2, 3, 4), condition_channels=(3, 4)),
        assignment_network="small-voices",
    )
    for part, name in (("unet", "unet-exact"), ("assignment", "small-voices")):
        variables = zeros(network_shapes(name, config))
        assert recognise(variables, part, config) == name
        with pytest.raises(WeightsError, match="of no network known"):
            recognise(variables, part)


def test_unknown_names():
    assert network_shapes("vocoder") is None
    with pytest.raises(ValueError, match="no part named 'vocoder'"):
        part_shapes("vocoder", ModelConfig())
