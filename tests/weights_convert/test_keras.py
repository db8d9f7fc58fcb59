"""Against Keras itself: its files import and predict alike, exported files load in it.

The networks are built here from the layer names and sizes of the two public repositories, so that
Keras, not this package, decides how a file of them looks. Needs the extra ``test-keras``.
"""

import os
import warnings

import numpy as np
import pytest
from weight_files import save_recognised

from umss_jax.networks import assignment, salience
from umss_jax.trees import part_of
from umss_jax.weights.store import load
from weights_convert import export_file, import_file

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FRAMES = 12
VOICES = ("soprano", "alto", "tenor", "bass")


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip("tf_keras", reason="needs Keras 2: pip install '.[test-keras]'")
    found.utils.set_random_seed(0)
    return found


def conv(keras, x, name, filters, kernel):
    layer = keras.layers.Conv2D(filters, kernel, padding="same", activation="relu", name=name)
    return keras.layers.BatchNormalization()(layer(x))


def squeezed(keras, x):
    """Without the last axis, of size one; after VoasCLSTM time comes first."""
    rows = x.shape[1] if x.shape[1] == FRAMES else 360
    return keras.layers.Reshape((rows, -1))(x)


def head(keras, x, deep):
    if deep:
        x = conv(keras, x, "conv7", 64, (3, 3))
        x = conv(keras, x, "conv8", 64, (3, 3))
    x = conv(keras, x, "distribution", 8, (360, 1))
    last = keras.layers.Conv2D(1, (1, 1), padding="same", activation="sigmoid", name="squishy")
    return squeezed(keras, last(x))


LATE = (
    ("conv1{}", 16, (5, 5)),
    ("conv2{}", 32, (5, 5)),
    ("conv3{}", 32, (5, 5)),
    ("conv4{}", 32, (5, 5)),
    ("harm1{}", 32, (70, 3)),
    ("harm2{}", 32, (70, 3)),
)


def late(keras, letters):
    inputs, branches = [keras.layers.Input((None, None, 5)) for _ in letters], []
    for letter, x in zip(letters, inputs, strict=True):
        x = keras.layers.BatchNormalization()(x)
        for name, filters, kernel in LATE:
            x = conv(keras, x, name.format(letter), filters, kernel)
        branches.append(x)
    x = keras.layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
    return keras.Model(inputs, head(keras, x, deep=True))


def early(keras, deep):
    inputs = [keras.layers.Input((None, None, 5)) for _ in "ab"]
    # Both input normalisations exist before the first convolution.
    normalised = [keras.layers.BatchNormalization()(x) for x in inputs]
    branches = [
        conv(keras, x, f"conv1{letter}", 16, (5, 5))
        for letter, x in zip("ab", normalised, strict=True)
    ]
    x = keras.layers.Concatenate()(branches)
    for name, filters, kernel in LATE[1:]:
        x = conv(keras, x, name.format(""), filters, kernel)
    return keras.Model(inputs, head(keras, x, deep=deep))


def voas_common(keras):
    inputs = keras.layers.Input((360, FRAMES, 1))
    x = keras.layers.BatchNormalization()(inputs)
    x = conv(keras, x, "conv1", 32, (3, 3))
    x = conv(keras, x, "conv2", 32, (3, 3))
    x = conv(keras, x, "conv_harm_1", 16, (70, 3))
    layer = keras.layers.Conv2D(16, (70, 3), padding="same", activation="relu", name="conv_harm_2")
    return inputs, layer(x)


def voice_output(keras, x, voice):
    layer = keras.layers.Conv2D(1, 1, name=f"conv_{voice}", padding="same", activation="sigmoid")
    return squeezed(keras, layer(x))


def voas_cnn(keras):
    inputs, x = voas_common(keras)
    x = keras.layers.BatchNormalization()(x)
    outputs = []
    for number, voice in enumerate(VOICES, 1):
        y = conv(keras, x, f"conv{number}a", 16, (3, 3))
        layer = keras.layers.Conv2D(
            16, (3, 3), padding="same", activation="relu", name=f"conv{number}b"
        )
        outputs.append((layer(y), voice))
    return keras.Model(inputs, [voice_output(keras, y, voice) for y, voice in outputs])


def voas_clstm(keras):
    inputs, x = voas_common(keras)
    x = keras.layers.Permute((2, 1, 3))(x)
    x = keras.layers.Reshape((FRAMES, 360, 1, 16))(x)
    x = keras.layers.BatchNormalization()(x)
    outputs = []
    for number, voice in enumerate(VOICES, 1):
        y = x
        for layer in (1, 2):
            y = keras.layers.ConvLSTM2D(
                32,
                (3, 7),
                padding="same",
                activation="tanh",
                recurrent_activation="hard_sigmoid",
                return_sequences=True,
                name=f"convlstm_{number}_{layer}",
            )(y)
        outputs.append((keras.layers.Reshape((FRAMES, 360, 32))(y), voice))
    voices = [voice_output(keras, y, voice) for y, voice in outputs]
    return keras.Model(inputs, [keras.layers.Permute((2, 1))(y) for y in voices])


NETWORKS = {
    "early-deep": (lambda k: early(k, deep=True), salience.EarlyDeep(), 2),
    "early-shallow": (lambda k: early(k, deep=False), salience.EarlyShallow(), 2),
    "late-deep": (lambda k: late(k, "ab"), salience.LateDeep(), 2),
    "late-deep-magnitude": (lambda k: late(k, "a"), salience.LateDeepMagnitude(), 1),
    "voas-cnn": (voas_cnn, assignment.VoasCnn(), 0),
    "voas-clstm": (voas_clstm, assignment.VoasClstm(), 0),
}


def randomise(model, seed):
    """Weights and statistics that no initialisation gives, so that no mix-up stays unseen."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        new = []
        for weight in layer.weights:
            value, name = weight.numpy(), weight.name.rsplit("/")[-1]
            if name.startswith(("gamma", "moving_variance")):
                value = rng.uniform(0.5, 2, value.shape)
            elif name.startswith(("beta", "moving_mean", "bias")):
                value = rng.uniform(-0.3, 0.3, value.shape)
            else:
                value = value * rng.uniform(0.5, 1.5, value.shape)
            new.append(value.astype(np.float32))
        layer.set_weights(new)
    return model


def keras_predicts(model, inputs):
    predicted = model.predict(inputs, verbose=0)
    if isinstance(predicted, list):
        return np.stack(predicted, axis=1)
    return predicted


def inputs_of(features, seed=5):
    """Features in Keras's layout and in the layout here."""
    rng = np.random.default_rng(seed)
    if features == 0:
        x = rng.uniform(0, 1, (1, 360, FRAMES, 1)).astype(np.float32)
        return x, [x[..., 0]]
    arrays = [rng.standard_normal((1, 360, FRAMES, 5), np.float32) for _ in range(features)]
    return (arrays if features > 1 else arrays[0]), [np.moveaxis(x, -1, 1) for x in arrays]


@pytest.mark.parametrize("whole_model", [False, True])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_import_predicts_and_export_loads(architecture, whole_model, keras, tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    build, module, features = NETWORKS[architecture]
    theirs, mine = inputs_of(features)
    model = randomise(build(keras), seed=1)  # numbering goes on from the tests before
    expected = keras_predicts(model, theirs)
    assert expected.std() > 1e-3  # otherwise nothing would be compared

    path = tmp_path / "x.h5"
    if whole_model:
        model.compile("adam", "mse")
        model.save(path)
    else:
        model.save_weights(path)
    imported = import_file(path)
    assert imported.kind == f"keras-{architecture}"
    save_recognised("x", imported.variables, imported.metadata)
    variables = load("x").variables
    part = "salience" if features else "assignment"
    found = np.asarray(module.apply(part_of(variables, part), *mine))
    assert np.abs(found - expected).max() < 1e-4

    exported = export_file(variables, imported.kind, tmp_path / "y.h5")
    fresh = randomise(build(keras), seed=2)
    assert np.abs(keras_predicts(fresh, theirs) - expected).max() > 1e-3
    fresh.load_weights(exported)
    np.testing.assert_array_equal(keras_predicts(fresh, theirs), expected)
    for ours, original in zip(fresh.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, original)


def test_published_files_exported_load_in_keras(shared, keras, golden, tmp_path):
    """Late/Deep from the .npy files, through an exported file into Keras, on recorded features."""
    imported = import_file(shared / "weights" / "multi-f0_estimator")
    exported = export_file(imported.variables, "keras-late-deep", tmp_path / "x.h5")
    model = late(keras, "ab")
    model.load_weights(exported)
    hcqt = golden("hcqt")
    cut = slice(100, 140)
    inputs = [
        np.moveaxis(hcqt[f"{name}_librosa"][:, :, cut], 0, -1)[None]
        for name in ("magnitude_db", "phase_diff")
    ]
    expected = golden("keras_predictions")["salience_from_exp3multif0"][:, cut]
    found = keras_predicts(model, inputs)[0]
    assert np.abs(found[:, 12:-12] - expected[:, 12:-12]).max() < 1e-4
