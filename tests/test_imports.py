"""Who may import whom, read from the source: stages meet in `model`, not in each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import umss_jax

PACKAGE = Path(umss_jax.__file__).parent

PRIMITIVES = frozenset(
    {
        *("activations", "config", "conv_block", "cqt_kernels", "dense", "errors", "fir"),
        *("frequency_conv", "gru", "overlap_add", "pitch_grid", "polyphase", "stft"),
    }
)
"""What every stage may share: numerical building blocks, settings, errors."""

STAGES = {
    # stage: the other stages that it may import
    "resample": set(),
    "hcqt": set(),
    "salience": set(),
    "assignment": set(),
    "small_networks": set(),
    "heuristic": set(),
    "f0": set(),
    "encoder": set(),
    "decoder": {"synth"},  # for the NamedTuple of its outputs
    "harmonic": set(),
    "noise": set(),
    "all_pole": set(),
    "synth": {"harmonic", "noise", "all_pole"},
    "losses": set(),
    "masking": set(),
    "metrics": set(),
    "comb": set(),
    "unet_layers": set(),
    "unet_condition": {"harmonic", "masking", "unet_layers"},
    "unet": {"masking", "unet_condition", "unet_layers"},
}

BETWEEN_PRIMITIVES = {
    # primitive: the other primitives that it may import
    "activations": set(),
    "config": set(),
    "conv_block": {"config", "dense", "frequency_conv"},
    "cqt_kernels": {"config"},
    "dense": {"config"},
    "errors": set(),
    "fir": {"overlap_add"},
    "frequency_conv": set(),
    "gru": {"config", "dense"},
    "overlap_add": set(),
    "pitch_grid": {"config"},
    "polyphase": set(),
    "stft": {"overlap_add"},
}

FOREIGN = {"torch", "torchaudio", "keras", "tensorflow", "tf_keras", "librosa"}
"""Never needed to import a module of the package (librosa: the oracle of tests, or inside one)."""


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imported(tree, inside_functions):
    """Full names of all modules that a source imports, and of names taken from modules."""
    pending, found = [tree], set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if is_type_checking(node) or (is_function and not inside_functions):
            continue
        pending.extend(ast.iter_child_nodes(node))
    return found


def own_imports(module, inside_functions=True):
    """Modules of the package that one imports, without the package's name."""
    names = imported(ast.parse(SOURCES[f"umss_jax.{module}"].read_text()), inside_functions)
    known = {name.removeprefix("umss_jax.") for name in SOURCES if name != "umss_jax"}
    return (
        {name.removeprefix("umss_jax.") for name in names}
        & known
        & {name.removeprefix("umss_jax.") for name in names if name.startswith("umss_jax.")}
    )


def test_the_parser_sees_what_there_is_to_see():
    source = (
        "import a.b\nfrom c import d\ndef f():\n    import e\nif TYPE_CHECKING:\n    import g\n"
    )
    tree = ast.parse(source)
    assert imported(tree, inside_functions=False) == {"a.b", "c", "c.d"}
    assert imported(tree, inside_functions=True) == {"a.b", "c", "c.d", "e"}
    assert {"harmonic", "noise", "all_pole", "config"} <= own_imports("synth")
    assert "model" in own_imports("engine")  # `from umss_jax import model`


@pytest.mark.parametrize("stage", STAGES)
def test_stages_do_not_import_each_other(stage):
    assert own_imports(stage) <= STAGES[stage] | PRIMITIVES


@pytest.mark.parametrize("primitive", sorted(PRIMITIVES))
def test_primitives_import_no_stage(primitive):
    assert own_imports(primitive) <= BETWEEN_PRIMITIVES[primitive]


def test_losses_know_nothing_of_the_model():
    assert own_imports("losses") & {"model", "training", "engine"} == set()


@pytest.mark.parametrize("module", SOURCES)
def test_no_foreign_framework_is_imported_at_module_level(module):
    names = imported(ast.parse(SOURCES[module].read_text()), inside_functions=False)
    assert {name.split(".")[0] for name in names} & FOREIGN == set()


@pytest.mark.parametrize("module", ["umss_jax", "umss_jax.cli"])
def test_importing_the_command_does_not_import_jax(module):
    heavy = ("jax", "jaxlib", "flax", "optax", "scipy", "librosa", "torch", "soundfile")
    code = f"import sys, {module}; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
