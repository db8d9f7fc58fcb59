"""Import and export of every kind: bit-exact, told from contents, equal to the original code."""

import json

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner
from weight_files import KINDS, assert_same, random_variables, save_recognised, write_random

from umss_jax.cli.weights import app
from umss_jax.errors import OutputError, WeightsError
from umss_jax.model import ModelConfig, init_variables
from umss_jax.networks import assignment, salience
from umss_jax.networks.registry import network_shapes
from umss_jax.trees import expect_tree, flatten, part_of, select_parts
from umss_jax.weights import store as weights
from weights_convert import export_file, import_file, table_of_kind
from weights_convert.convert import kind_for

runner = CliRunner()
PUBLISHED_KINDS = {
    "multi-f0_estimator": ("npy-late-deep", 1_251_701),
    "multi-f0_assigner": ("npy-voas-cnn", 189_830),
    "exp3multif0.pkl": ("keras-late-deep", 1_251_701),
    "voas_cnn.h5": ("keras-voas-cnn", 189_830),
    "umss_reference_random.pth": ("torch-umss-2024", 7_015_492),
    "unet_original_random_fp16.pth": ("torch-unet-original", None),
    "unet_exact_random_fp16.pth": ("torch-unet-exact", None),
}


def needs(kind):
    if kind.startswith("torch"):
        pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("UMSS_JAX_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


def run(*arguments):
    result = runner.invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_is_bit_exact(kind, tmp_path):
    needs(kind)
    variables = random_variables(kind)
    first = export_file(variables, kind, tmp_path / "first")
    imported = import_file(first)
    assert imported.kind == kind
    assert_same(imported.variables, variables)
    again = import_file(export_file(imported.variables, kind, tmp_path / "again"))
    assert_same(again.variables, variables)


@pytest.mark.parametrize("file", PUBLISHED_KINDS)
def test_published_files_are_recognised_and_round_trip(file, shared, tmp_path):
    kind, parameters = PUBLISHED_KINDS[file]
    needs(kind)
    imported = import_file(shared / "weights" / file)
    assert imported.kind == kind
    params = flatten(imported.variables["params"])
    if parameters:
        assert sum(leaf.size for leaf in params.values()) == parameters
    again = import_file(export_file(imported.variables, kind, tmp_path / "again"))
    assert again.kind == kind
    assert_same(again.variables, imported.variables)


def test_exported_npy_files_are_the_published_bytes(shared, tmp_path):
    """Both folders at once, given by the one above them."""
    source = shared / "weights"
    imported = import_file(source)
    assert imported.kind == "npy-published"
    written = export_file(imported.variables, imported.kind, tmp_path / "written")
    for folder in ("multi-f0_estimator", "multi-f0_assigner"):
        found = {path.name: path.read_bytes() for path in (written / folder).iterdir()}
        expected = {path.name: path.read_bytes() for path in (source / folder).iterdir()}
        assert found == expected


def test_one_network_from_three_origins_is_one_tree(shared):
    """Late/Deep from Keras, from .npy and from the PyTorch checkpoint; VoasCNN likewise.

    One number differs, and so it is published: ``voas_cnn_postprocess3_bias.npy`` of the 2024 code
    (and hence its checkpoints) repeats the bass's output bias for the tenor.
    """
    needs("torch")
    folder = shared / "weights"
    complete = import_file(folder / "umss_reference_random.pth").variables
    from_npy = {
        part: import_file(folder / name).variables
        for part, name in [("salience", "multi-f0_estimator"), ("assignment", "multi-f0_assigner")]
    }
    for part, variables in from_npy.items():
        assert_same(select_parts(complete, [part]), variables)
    assert_same(import_file(folder / "exp3multif0.pkl").variables, from_npy["salience"])
    keras = flatten(import_file(folder / "voas_cnn.h5").variables)
    npy = flatten(from_npy["assignment"])
    differing = [path for path in keras if keras[path].tobytes() != npy[path].tobytes()]
    assert differing == ["params/assignment/tenor/output/bias"]
    np.testing.assert_array_equal(npy[differing[0]], npy["params/assignment/bass/output/bias"])


NETWORKS = (
    *("late-deep", "late-deep-magnitude", "early-deep", "early-shallow", "voas-cnn", "voas-clstm"),
    *("unet-original", "unet-exact"),
)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_tables_describe_the_flax_modules(architecture):
    kinds = [kind for kind in KINDS if table_of_kind(kind).architecture == architecture]
    assert kinds
    for kind in kinds:
        expect_tree(random_variables(kind), network_shapes(architecture))


def test_table_describes_the_complete_model():
    expected = jax.eval_shape(lambda key: init_variables(key, ModelConfig()), jax.random.key(0))
    expect_tree(random_variables("torch-umss-2024"), expected)


def test_keras_predictions_through_command_and_store(shared, golden, tmp_path):
    """Late/Deep on librosa's features and VoasCNN, imported by the command, loaded by name.

    Frames at the borders of the excerpt see other frames than in the whole recording (12 at each
    side for Late/Deep, 5 for VoasCNN) and are left out.
    """
    run("import", shared / "weights" / "exp3multif0.pkl", "-o", "late-deep")
    run("import", shared / "weights" / "voas_cnn.h5", "-o", "voas-cnn")
    keras = golden("keras_predictions")
    hcqt = golden("hcqt")
    cut = slice(100, 140)
    variables, _, about = weights.load("late-deep")
    assert about["architecture"] == "late-deep"
    found = salience.LateDeep().apply(
        part_of(variables, "salience"),
        hcqt["magnitude_db_librosa"][None, :, :, cut],
        hcqt["phase_diff_librosa"][None, :, :, cut],
    )
    expected = keras["salience_from_exp3multif0"][:, cut]
    assert np.abs(np.asarray(found)[0, :, 12:-12] - expected[:, 12:-12]).max() < 1e-4

    variables = weights.load("voas-cnn").variables
    cut = slice(40, 80)
    found = assignment.VoasCnn().apply(
        part_of(variables, "assignment"), keras["salience_in_128"][None, :, cut]
    )
    expected = keras["assigned_from_voas_cnn_128"][:, :, cut]
    assert np.abs(np.asarray(found)[0, :, :, 6:-6] - expected[:, :, 6:-6]).max() < 1e-4


def test_torch_state_dict_returns_whole(shared, tmp_path):
    """The exported checkpoint has every key, shape, type and value of the reference's own."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    source = shared / "weights" / "umss_reference_random.pth"
    theirs = torch.load(source, weights_only=True)
    imported = import_file(source)
    mine = torch.load(
        export_file(imported.variables, imported.kind, tmp_path / "x.pth"), weights_only=True
    )

    class Holder(torch.nn.Module):
        """A module of the same keys, built from the reference's file and not from the table."""

        def __init__(self, state):
            super().__init__()
            groups = {}
            for key, value in state.items():
                head, _, rest = key.partition(".")
                if rest:
                    groups.setdefault(head, {})[rest] = value
                elif value.is_floating_point() and not head.startswith("running"):
                    self.register_parameter(head, torch.nn.Parameter(torch.zeros_like(value)))
                else:
                    self.register_buffer(head, torch.zeros_like(value))
            for head, group in groups.items():
                self.add_module(head, Holder(group))

    module = Holder(theirs)
    module.load_state_dict(mine, strict=True)
    for key, value in module.state_dict().items():
        assert value.dtype == theirs[key].dtype, key
        assert torch.equal(value, theirs[key]), key


def test_gru_layout_is_pytorchs(tmp_path):
    """A GRU step from the imported arrays equals `torch.nn.GRU` itself."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    variables = random_variables("torch-umss-2023")
    state = torch.load(export_file(variables, "torch-umss-2023", tmp_path / "x"), weights_only=True)
    gru = torch.nn.GRU(256, 256, batch_first=True)
    gru.load_state_dict(
        {k.removeprefix("encoder.gru2."): v for k, v in state.items() if "encoder.gru2." in k}
    )
    x = np.random.default_rng(1).standard_normal((1, 2, 256), np.float32)
    with torch.no_grad():
        expected = gru(torch.from_numpy(x))[0].numpy()[0]
    cell = {k: v.astype(np.float64) for k, v in variables["params"]["encoder"]["gru_2"].items()}
    h = np.zeros(256)
    for step in range(2):
        gates_in = x[0, step] @ cell["input_kernel"] + cell["input_bias"]
        gates_hidden = h @ cell["hidden_kernel"] + cell["hidden_bias"]
        r, z = (1 / (1 + np.exp(-(gates_in + gates_hidden)))).reshape(3, 256)[:2]
        n = np.tanh(gates_in[512:] + r * gates_hidden[512:])
        h = (1 - z) * n + z * h
        np.testing.assert_allclose(expected[step], h, atol=1e-5)


def test_transposed_convolution_layout_is_pytorchs(tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    variables = random_variables("torch-unet-exact")
    state = torch.load(
        export_file(variables, "torch-unet-exact", tmp_path / "x"), weights_only=True
    )
    x = np.random.default_rng(2).standard_normal((1, 64, 9, 7), np.float32)
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x), state["deconv5.weight"], state["deconv5.bias"], stride=2, padding=2
    ).numpy()
    layer = variables["params"]["unet"]["up_5"]["conv"]
    found = jax.lax.conv_general_dilated(
        jnp.asarray(x),
        layer["kernel"],
        window_strides=(1, 1),
        padding=((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NCHW", "HWIO", "NCHW"),
        precision="highest",
    ) + layer["bias"].reshape(1, -1, 1, 1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("first", ["batch_normalization", "batch_normalization_41"])
@pytest.mark.parametrize("prefix", ["batch_normalization", "batch_normalization_v1"])
def test_keras_numbering_may_begin_anywhere(first, prefix, tmp_path):
    """Automatic names from any number on, in any order of the file, under any TensorFlow scope."""
    path = write_random("keras-late-deep", tmp_path / "x.h5")
    offset = 0 if first == "batch_normalization" else 41
    with h5py.File(path, "r+") as file:
        names = [name.decode() for name in file.attrs["layer_names"]]
        moves = {}
        for name in names:
            if name.startswith("batch_normalization"):
                number = int(name.rsplit("_", 1)[1]) - 1 + offset
                moves[name] = f"{prefix}_{number}" if number else prefix
        for name in moves:
            file.move(name, f"moving_{name}")
        for name, new in moves.items():
            file.move(f"moving_{name}", new)
            group = file[new]
            group.move(name, f"{new}_3")
            listed = [w.decode() for w in group.attrs["weight_names"]]
            group.attrs["weight_names"] = np.array(
                [w.replace(name, f"{new}_3", 1).encode() for w in listed]
            )
        file.attrs["layer_names"] = np.array([moves.get(n, n).encode() for n in sorted(names)])
    assert_same(import_file(path).variables, random_variables("keras-late-deep"))


def test_whole_models_and_split_name_lists_are_read(tmp_path):
    path = write_random("keras-voas-cnn", tmp_path / "weights.h5")
    whole = tmp_path / "whole.h5"
    with h5py.File(path) as source, h5py.File(whole, "w") as file:
        source.copy(source, file, "model_weights")
        group = file["model_weights"]
        names = group.attrs["layer_names"]
        del group.attrs["layer_names"]
        group.attrs["layer_names0"], group.attrs["layer_names1"] = names[:9], names[9:]
        group.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)
        file.create_group("optimizer_weights")
    imported = import_file(whole)
    assert_same(imported.variables, random_variables("keras-voas-cnn"))
    assert imported.metadata["source"]["left_aside"] == ["optimizer_weights"]


def test_training_checkpoints_are_read(tmp_path):
    """``.chkpnt``: state dict beside optimiser, epoch and a best loss that is a NumPy number."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'umss-jax[torch]'")
    path = write_random("torch-umss-2023", tmp_path / "x.pth")
    state = torch.load(path, weights_only=True)
    checkpoint = {
        "epoch": 3,
        "state_dict": state,
        "best_loss": np.float64(0.5),
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.zeros(3)}}, "param_groups": []},
        "scheduler": {"last_epoch": 3},
    }
    torch.save(checkpoint, tmp_path / "x.chkpnt")
    imported = import_file(tmp_path / "x.chkpnt")
    assert_same(imported.variables, random_variables("torch-umss-2023"))
    assert imported.metadata["source"]["left_aside"] == [
        "best_loss",
        "epoch",
        "optimizer",
        "scheduler",
    ]


def test_export_refuses_a_tree_of_another_kind(tmp_path):
    with pytest.raises(WeightsError, match="missing params/assignment"):
        export_file(random_variables("npy-late-deep"), "keras-voas-cnn", tmp_path / "x.h5")
    assert not list(tmp_path.glob("*.h5"))
    with pytest.raises(WeightsError, match="choose parts with --part"):
        kind_for(random_variables("torch-umss-2024"), "keras")


@pytest.mark.parametrize("kind", ["keras-voas-cnn", "npy-voas-cnn"])
def test_export_does_not_replace(kind, tmp_path):
    path = write_random(kind, tmp_path / "x")
    with pytest.raises(OutputError, match="exists"):
        write_random(kind, path, seed=1)
    assert_same(import_file(path).variables, random_variables(kind))


def test_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("weights_convert.hdf5.write", fail)
    monkeypatch.setattr("weights_convert.npy.np.save", fail)
    for kind in ("keras-voas-cnn", "npy-voas-cnn"):
        with pytest.raises(OutputError, match="No space left"):
            write_random(kind, tmp_path / "x")
    assert not [path for path in tmp_path.iterdir() if path.name != "home"]


def test_command_group(tmp_path, store):
    source = write_random("npy-voas-cnn", tmp_path / "assigner")
    stored = run("import", source, "-o", "mine").strip()
    assert stored == str(store / "mine.safetensors")
    listed = [line.split("\t")[:3] for line in run("list").splitlines()]
    assert ["mine", "voas-cnn", "189830"] in listed
    assert [name for name, *_ in listed] == [*("name", "starter", "starter-small", "mine")]
    about = json.loads(run("show", "mine", "--arrays"))
    assert about["kind"] == "npy-voas-cnn"
    assert about["licence"].startswith("Apache-2.0")
    assert about["hyper_parameters"]["thresholds"] == [0.23, 0.17, 0.15, 0.17]
    assert set(about["source"]["sha256"]) == {path.name for path in source.iterdir()}
    assert len(about["arrays"]) == 68
    assert run("verify", "mine").startswith("mine: ok, 68 arrays")
    run("export", "mine", tmp_path / "x.h5", "--to", "keras")
    assert_same(import_file(tmp_path / "x.h5").variables, random_variables("npy-voas-cnn"))
    with pytest.raises(OutputError, match="--overwrite"):
        run("import", tmp_path / "x.h5", "-o", "mine")
    run("import", tmp_path / "x.h5", "-o", "mine", "--overwrite")
    assert json.loads(run("show", "mine"))["kind"] == "keras-voas-cnn"


def test_command_exports_parts(tmp_path, monkeypatch):
    variables = random_variables("torch-umss-2024")
    save_recognised("complete", variables, {"architecture": "umss-2024"})
    run("export", "complete", tmp_path / "x.h5", "--to", "keras", "--part", "salience")
    imported = import_file(tmp_path / "x.h5")
    assert imported.kind == "keras-late-deep"
    assert_same(imported.variables, select_parts(variables, ["salience"]))


def test_kind_may_be_given_but_must_fit(tmp_path):
    path = write_random("keras-voas-cnn", tmp_path / "x.h5")
    assert import_file(path, "keras-voas-cnn").kind == "keras-voas-cnn"
    with pytest.raises(WeightsError, match="not of kind torch-umss-2024"):
        import_file(path, "torch-umss-2024")
    with pytest.raises(WeightsError, match="missing conv7/kernel"):
        import_file(path, "keras-late-deep")
