"""The rows of an evaluation: baselines, ceiling, and what a model of the store contributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from umss_jax.audio.segments import segment_seed
from umss_jax.config import Assigner, Chain, VoicesConfig
from umss_jax.data.excerpts import Excerpt
from umss_jax.evaluate import baselines
from umss_jax.evaluate.config import EvaluationConfig, F0Source
from umss_jax.evaluate.protocol import StemEstimator
from umss_jax.files import arrays_sha256
from umss_jax.separation.config import SeparationConfig
from umss_jax.trees import flatten
from umss_jax.weights.combine import load_weights, model_name

if TYPE_CHECKING:
    from umss_jax.inference import ModelEngine

_DEFAULT = EvaluationConfig()


class Estimate(NamedTuple):
    """What a row says of an excerpt."""

    stems: np.ndarray
    """[J, S]."""
    f0_hz_synth: np.ndarray | None = None
    """[J, S / 256], where it was estimated from the mixture."""
    reported_f0_hz_synth: np.ndarray | None = None
    """The same for people to read: not interpolated between notes, 0 where unvoiced."""


class Row(NamedTuple):
    """A line of the table."""

    label: str
    identity: dict[str, Any]
    """What its scores depend on besides excerpt and measures, as JSON holds it."""
    estimate: Callable[[Excerpt], Estimate]
    salience: Callable[[Excerpt], np.ndarray] | None = None
    """[360, frames] in (0, 1), whose pitches these are, where there is one."""
    has_stems: bool = True
    """Whether there is something to hear besides the mixture."""


def baseline_rows(with_f0: bool, config: EvaluationConfig = _DEFAULT) -> list[Row]:
    """The unprocessed mixture, the ceiling of soft masks, and where there is F0 a comb on it."""
    mask = {"masks": asdict(config.mask)}
    mixture = _stems_only(baselines.unprocessed)
    ceiling = _stems_only(lambda excerpt: baselines.ideal_ratio_masks(excerpt, config))
    rows = [
        Row("mixture", {"row": "mixture"}, mixture, has_stems=False),
        Row("ideal ratio masks", {"row": "ideal ratio masks", **mask}, ceiling),
    ]
    if with_f0:
        comb = {"row": "comb", "f0": "oracle", "comb": asdict(config.comb), **mask}
        estimate = _stems_only(baselines.harmonic_comb(config=config))
        rows.append(Row("comb, reference F0", comb, estimate))
    return rows


def model_rows(
    argument: str,
    assigner: Assigner,
    sources: Sequence[F0Source] = (F0Source.MIX,),
    config: EvaluationConfig = _DEFAULT,
    chain: Chain = Chain.PAPER,
    voices: VoicesConfig | None = None,
) -> list[Row]:
    """The rows of a model: its stems where it can synthesise, and the comb on its F0.

    Args:
        argument: name or file of weights, or several joined by ``+``; ``LABEL=NAME`` calls it
            otherwise.
        assigner: what gives the pitches to the voices.
        sources: the F0 that its voices are synthesised from: one row for each. The comb needs no
            model where the F0 is given.
        config: of the comb and its masks.
        chain: in which it separates; of another than the paper's the labels say so.
        voices: who sings, where not those that the weights were trained with.

    Raises:
        UnknownModelError, WeightsError, UsageError: as :func:`umss_jax.api.load`.
    """
    from umss_jax import api
    from umss_jax.networks.parts import voice_model

    label, name = label_and_name(argument)
    variables = load_weights(name).variables
    own = voice_model(variables["params"]).parts
    has_decoder = not variables["params"].keys().isdisjoint(own)
    load = api.load if has_decoder else api.load_tracker
    others: dict[str, Any] = {} if voices is None else {"voices": voices}
    engine = load(name, assigner=assigner, chain=chain, **others).engine
    if chain != Chain.PAPER:
        label = f"{label}, {chain}"
    identity = {
        "weights": arrays_sha256(flatten(variables)),
        "assigner": str(engine.assigner),
        "model": repr(engine.config),
    }
    rows = []
    run = _remembering(lambda excerpt: _estimate(engine, excerpt, has_decoder))

    def salience(excerpt: Excerpt) -> np.ndarray:
        return engine.salience(excerpt.mixture[None])[0]

    if has_decoder and F0Source.MIX in sources:
        rows.append(Row(label, {"row": "model", "f0": "mix", **identity}, run, salience))
    if has_decoder and F0Source.ORACLE in sources:
        given = {"row": "model", "f0": "oracle", **identity}
        rows.append(Row(f"{label}, reference F0", given, partial(_estimate_from_reference, engine)))
    if F0Source.MIX in sources:
        comb = {"row": "comb", "f0": "mix", "comb": asdict(config.comb), **identity}
        of_model = f"comb, F0 of {label} ({engine.assigner})"
        rows.append(Row(of_model, comb, _comb(run, config), salience))
    return rows


def label_and_name(argument: str) -> tuple[str, str]:
    """What a model is called in the table, and where it is.

    ``LABEL=NAME`` says both. Else it is the name; of the weights of a run, that of the run.
    """
    label, equals, name = argument.partition("=")
    if equals and label and name:
        return label, name
    path = Path(argument)
    if path.name == "weights.safetensors" and path.absolute().parent.name:
        return path.absolute().parent.name, argument
    return model_name(argument), argument


def _stems_only(estimator: StemEstimator) -> Callable[[Excerpt], Estimate]:
    return lambda excerpt: Estimate(estimator(excerpt))


def _comb(
    run: Callable[[Excerpt], Estimate], config: EvaluationConfig
) -> Callable[[Excerpt], Estimate]:
    """The comb on the F0 that a model estimates."""

    def estimate(excerpt: Excerpt) -> Estimate:
        of_model = run(excerpt)
        f0_hz_synth = of_model.f0_hz_synth
        assert f0_hz_synth is not None
        comb = baselines.harmonic_comb(lambda _: f0_hz_synth, config)
        return of_model._replace(stems=comb(excerpt))

    return estimate


def _remembering(run: Callable[[Excerpt], Estimate]) -> Callable[[Excerpt], Estimate]:
    """The same, but for the last excerpt's estimate, which two rows share, kept."""
    last: tuple[Excerpt, Estimate] | None = None

    def estimate(excerpt: Excerpt) -> Estimate:
        nonlocal last
        if last is None or last[0] is not excerpt:
            last = excerpt, run(excerpt)
        return last[1]

    return estimate


def _estimate(engine: ModelEngine, excerpt: Excerpt, has_decoder: bool) -> Estimate:
    mixture = excerpt.mixture[None]
    if not has_decoder:
        nothing = np.zeros_like(excerpt.sources)
        found = engine.analyse(mixture)
        return Estimate(nothing, np.asarray(found.f0_hz_synth[0]), engine.reported_f0(found)[0])
    stems, output = engine.separated(mixture, _seeds())
    own = np.asarray(stems[0, :, 0])
    return Estimate(own, np.asarray(output.f0_hz_synth[0]), engine.reported_f0(output)[0])


def _estimate_from_reference(engine: ModelEngine, excerpt: Excerpt) -> Estimate:
    if excerpt.f0_hz_synth is None:
        raise ValueError(f"{excerpt.name}: there is no reference F0")
    given = excerpt.f0_hz_synth[None]
    return Estimate(
        np.asarray(engine.separated(excerpt.mixture[None], _seeds(), given).stems[0, :, 0])
    )


def _seeds() -> np.ndarray:
    """The noise of every excerpt is that of the first segment of a recording."""
    return np.asarray([segment_seed(SeparationConfig().seed, 0)], np.uint32)
