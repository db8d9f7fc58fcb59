"""The reference's ``config.txt`` or ``unet_config.txt`` as the configuration of a run here.

Source: these files and the options of ``train.py`` of PierreChouteau/umss_icassp, whose defaults
count where the file is silent. What has no counterpart here is refused by name unless it is off.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umss_jax.errors import UsageError, brief
from umss_jax.train.settings_file import settings_text

_DEFAULTS: dict[str, Any] = {
    "dataset": "musdb",
    "one-song": False,
    "epochs": 1000,
    "batch-size": 16,
    "lr": 1e-3,
    "patience": 140,
    "lr-decay-gamma": 0.3,
    "weight-decay": 1e-5,
    "seed": 42,
    "supervised": False,
    "F0-models": False,
    "F0-models-trainable": False,
    "MultiF0-estimator-trainable": False,
    "f0-cuesta": False,
    "reconstruction-loss-weight": 1.0,
    "loss-saliences-weight": 0.0,
    "loss-voices-weight": 0.0,
    "loss-comittment-weight": 0.0,
    "loss-nfft": [2048, 1024, 512, 256, 128, 64],
    "nfft": 512,
    "nhop": 256,
    "encoder-hidden-size": 256,
    "embedding-size": 128,
    "decoder-hidden-size": 512,
    "filter-order": 10,
    "noise-filter-mags": 40,
    "harmonic-roll-off": 12.0,
    "f-ref-source-spec": 200.0,
    "tag": "test",
    "architecture": "SourceFilterMixtureAutoencoder2",
    "original-cu-net": False,
    "train-song": None,
    "val-song": None,
}
"""Options that are translated."""

_IGNORED = frozenset(
    # StepLR takes 200 epochs whatever lr-decay-patience says; the decoder's output is its hidden
    # size; weights of losses that are off. loss-f0-weight only reports.
    {"comment", "nb-workers", "quiet", "no-cuda", "lr-decay-patience", "decoder-output-size"}
    | {"loss-f0-weight", "lr-f0", "confidence-threshold", "nb-filter-magnitudes", "output"}
    | {"harmonic-amp-loss-weight", "f0-hz-loss-weight", "harmonics-roll-off-loss-weight"}
    | {"lsf-loss-weight", "noise-gain-loss-weight", "noise-mags-loss-weight"}
)
_FIXED: dict[str, tuple[Any, ...]] = {
    "architecture": ("SourceFilterMixtureAutoencoder2", "BaselineUnet"),
    "encoder": ("MixEncoderSimple",),
    "n-sources": (4,),
    "voices": ("satb",),
    "samplerate": (16000,),
    "example-length": (64000,),
    "unidirectional": (True,),
    "estimate-lsf": (True,),
    "voiced-unvoiced-same-noise": (True,),
    "estimate-noise-mags": (True,),
    "return-sources": (True, False),
    "method": ("reconstruction",),
    "source-spectrum": ("flat",),
    "loss-mag-weight": (1,),
    "loss-logmag-weight": (1,),
    **dict.fromkeys(("one-example", "one-batch", "parallel"), (False,)),
    **dict.fromkeys(("estimate-f0", "supervised-f0", "switch-off-noise"), (False,)),
    **dict.fromkeys(("loss-logmel-weight", "loss-lsf-weight", "ss-loss-weight"), (0,)),
    **dict.fromkeys(("loss-delta-freq-weight", "loss-delta-time-weight"), (0,)),
    "loss-1voice-per-salience-weight": (0,),
}
"""Options that have one value here, or several without a difference."""


def read_reference(path: Path, datasets: str = "datasets") -> dict[str, Any]:
    """The settings of a reference configuration as a tree for `run_config`.

    ``datasets`` is the folder of the reference's datasets.

    Raises:
        UsageError: the file cannot be read, or asks for what is not here.
    """
    given = _parse(path)
    for key, value in given.items():
        if key in _FIXED and value not in _FIXED[key]:
            wanted = " or ".join(map(str, _FIXED[key]))
            raise UsageError(f"{path}: {key} = {value} has no counterpart", f"only {wanted} has")
        if key not in _FIXED and key not in _DEFAULTS and key not in _IGNORED:
            raise UsageError(f"{path}: {key} has no counterpart", "leave it out")
    options = {**_DEFAULTS, **given}
    examples, data = _data(path, options, datasets)
    return {
        "name": str(options["tag"]),
        "strategy": _strategy(path, options),
        "seed": options["seed"],
        "weights": "published",
        "batch": options["batch-size"],
        "max_epochs": options["epochs"],
        "patience": options["patience"],
        **examples,
        "data": data,
        "optimiser": {
            "learning_rate": options["lr"],
            "l2_penalty": options["weight-decay"],
            "decay_factor": options["lr-decay-gamma"],
        },
        "loss": {
            "fft_sizes": options["loss-nfft"],
            "rec_weight": options["reconstruction-loss-weight"],
            "l1_weight": options["loss-saliences-weight"],
            "l2_weight": options["loss-voices-weight"],
            "l3_weight": options["loss-comittment-weight"],
        },
        "model": _model(options),
    }


def _model(options: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of the U-Net, or of encoder, decoder and synthesiser."""
    transform = {"fft_size": options["nfft"], "hop_samples": options["nhop"]}
    if options["architecture"] == "BaselineUnet":
        condition = "original" if options["original-cu-net"] else "exact"
        return {"unet": {"condition": condition, **transform}}
    return {
        "encoder": {
            **transform,
            "hidden": options["encoder-hidden-size"],
            "latent": options["embedding-size"],
        },
        "decoder": {
            "hidden": options["decoder-hidden-size"],
            "line_spectral_frequencies": options["filter-order"],
            "noise_bands": options["noise-filter-mags"],
        },
        "synth": {
            "roll_off_db_per_octave": options["harmonic-roll-off"],
            "roll_off_reference_hz": options["f-ref-source-spec"],
        },
    }


def _parse(path: Path) -> dict[str, Any]:
    """``key = value`` or ``key: value`` a line, ``#`` begins a comment."""
    given = {}
    for number, line in enumerate(settings_text(path).splitlines(), start=1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        ends = [text.index(sign) for sign in "=:" if sign in text]
        if not ends:
            raise UsageError(f"{path}, line {number}: {brief(text)}", "write key = value")
        key, value = text[: min(ends)].strip(), text[min(ends) + 1 :].strip()
        try:
            given[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            # What Python makes of text that is no value, or is nested too deep.
            given[key] = value
    return given


def _strategy(path: Path, options: Mapping[str, Any]) -> str:
    is_unet = options["architecture"] == "BaselineUnet"
    if options["original-cu-net"] and not is_unet:
        raise UsageError(
            f"{path}: original-cu-net = True has no counterpart", "only a BaselineUnet has"
        )
    if not options["F0-models"]:
        if not options["f0-cuesta"]:
            raise UsageError(
                f"{path}: F0 from CREPE has no counterpart in training", "set f0-cuesta = True"
            )
        if is_unet:
            return "unet"
        return "supervised" if options["supervised"] else "umss"
    if options["supervised"] or is_unet:
        raise UsageError(
            f"{path}: supervised with F0-models has no counterpart", "set F0-models = False"
        )
    if not options["F0-models-trainable"]:
        return "sf_sf"
    return "sft_sft" if options["MultiF0-estimator-trainable"] else "sf_sft"


def _data(
    path: Path, options: Mapping[str, Any], datasets: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Examples of an epoch where the reference has a number, and the two sets."""
    dataset = options["dataset"]
    if dataset == "CSD":
        folder = [f"{datasets}/ChoralSingingDataset"]
        train, valid = (
            str(options[key] or default).replace(" ", "_")
            for key, default in (("train-song", "Nino Dios"), ("val-song", "Locus Iste"))
        )
        return {"epoch_examples": 1600}, {
            "train": {"folders": folder, "pieces": [train]},
            "validation": {"folders": folder, "pieces": [valid], "singers": [3]},
        }
    if dataset == "Cantoria":
        folder = [f"{datasets}/CantoriaDataset"]
        return {"epoch_examples": 400}, {
            "train": {"folders": folder, "pieces": [options["train-song"] or "EJB1"]},
            "validation": {"folders": folder, "pieces": [options["val-song"] or "EJB2"]},
        }
    if dataset != "BCBQ":
        raise UsageError(f"{path}: dataset {dataset} is not known", "use CSD, BCBQ or Cantoria")
    if options["one-song"]:
        folder = [f"{datasets}/BC"]
        return {}, {
            "train": {"folders": folder, "pieces": ["BC/1_BC001*"]},
            "validation": {"folders": folder, "pieces": ["BC/2_BC002*"]},
        }
    folder = [f"{datasets}/BC", f"{datasets}/BQ"]
    held_out = ["BC/8_BC*", "BC/9_BC*", "BQ/8_BQ*", "BQ/9_BQ*"]
    return {}, {
        # One soprano of this part is an empty file.
        "train": {"folders": folder, "exclude": [*held_out, "BC/17_BC021_part11*"]},
        "validation": {"folders": folder, "pieces": held_out},
    }
