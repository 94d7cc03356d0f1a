"""Warm start: a world model goes on from stored weights, in the scales of the logs that it was first fitted to."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline.data.dataset import IN_MEMORY, DatasetSpec, PreparedDataset
from pipeline.data.transitions import build_data_spec, layout_of
from pipeline.encoders.layout import Layout, changed_shapes
from pipeline.encoders.statistics import Statistics
from pipeline.types import TorchModule
from pipeline.validation import short
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.checkpoint import load_world_model, name_of
from pipeline.world_models.protocols import ModelConfig, TrainableWorldModel

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

M = TypeVar("M", bound=TorchModule)
FIT = "fit.start_from"  # the option
FAR = 3.0  # standard deviations beyond the range of the first logs that are worth a warning
SLIGHT = 0.01  # share of the first range of rewards that is not worth one
NAMED = 3  # features in one warning


def seed_folder(start_from: Path | str, seed: int, file: str, option: str) -> Path:
    """``start_from`` if it holds ``file``, else its folder of the seed. Raises ValueError if neither does."""
    folder = Path(start_from)
    own = folder / f"seed-{seed}"
    for candidate in (folder, own):
        if (candidate / file).is_file():
            return candidate
    others = sorted(path.parent.name for path in folder.glob(f"seed-*/{file}"))
    hint = (
        f"it has {', '.join(others)}: set it to one of these" if others else f"copy one there, or set `{option}: null`"
    )
    raise ValueError(f"params.yaml: `{option}`: neither {folder} nor {own} holds a {file}; {hint}")


def stored_model(model_class: type[TrainableWorldModel], config: ModelConfig, folder: Path) -> TrainableWorldModel:
    """A new model with the options ``config`` and the weights, scales and bounds of the one in ``folder``. Raises
    ValueError if that one is damaged, of another class, or has weights of other shapes."""
    stored = load_world_model(folder)
    name = next(name for name, kind in WORLD_MODELS.items() if kind is model_class)
    if not isinstance(stored, model_class):
        raise ValueError(
            f"params.yaml: `world_model.name` is {name}, and {folder} holds a {name_of(stored)}: set it to that, or "
            f"`{FIT}: null`"
        )
    return with_weights(
        lambda options: model_class(options, stored.data_spec),
        config,
        stored.config,
        stored,
        f"{folder}",
        "world_model",
    )


def with_weights(
    build: Callable[["DataclassInstance"], M],
    config: "DataclassInstance",
    before: "DataclassInstance",
    stored: TorchModule,
    place: str,
    block: str,
) -> M:
    """``build(config)`` with the weights of ``stored``, whose options were ``before``. Raises ValueError that names the
    options of ``block`` that give other shapes than ``place`` has."""
    new = build(config)
    if _shapes(new) != _shapes(stored):
        values = {f.name: (vars(before)[f.name], vars(config)[f.name]) for f in dataclasses.fields(config)}
        guilty = [k for k, (old, now) in values.items() if old != now and _reshapes(build, before, k, now, stored)]
        pairs = ", ".join(f"`{block}.{k}` is {values[k][1]} and was {values[k][0]}" for k in guilty)
        option = FIT if block == "world_model" else f"{block}.start_from"
        raise ValueError(
            f"params.yaml: {pairs or f'block `{block}`'}: weights of other shapes than in {place}; set what it was, or "
            f"`{option}: null`"
        )
    new.load_state_dict(stored.state_dict())
    return new


def _shapes(module: TorchModule) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _reshapes(
    build: Callable[["DataclassInstance"], M], before: "DataclassInstance", key: str, value: object, stored: TorchModule
) -> bool:
    """Whether ``value`` of one option alone gives other shapes; or it contradicts the other options."""
    try:
        return _shapes(build(dataclasses.replace(before, **{key: value}))) != _shapes(stored)
    except ValueError:
        return True


def continued_model(
    model_class: type[TrainableWorldModel],
    config: ModelConfig,
    dataset: PreparedDataset,
    folder: Path,
    say: Callable[[str], None],
    limit: float = IN_MEMORY,
) -> TrainableWorldModel:
    """:func:`stored_model`, ready to be fitted to ``dataset``. ``say`` gets a line about each thing in the logs that
    lies beyond what it was fitted to. Raises ValueError for logs whose numbers mean something else."""
    model = stored_model(model_class, config, folder)
    first = model.data_spec
    check_layout(first.obs_shapes, first.layout, dataset.spec, f"{folder}", FIT)
    now = build_data_spec(dataset, limit)
    _check_inputs(first.statistics, now.statistics, folder)
    if type(model_class(config, now).termination) is not type(model.termination):
        raise ValueError(
            f"{folder}: the logs hold {now.statistics.terminals} terminal steps, and those of this world model held "
            f"{first.statistics.terminals}, so it has another way to end an episode; set `{FIT}: null`"
        )
    for line in beyond(first.statistics, now.statistics, _labels(dataset.spec)):
        say(f"warning: {folder}: {line}")
    return model


def check_layout(
    shapes: dict[str, list[int]], layout: Layout | None, spec: DatasetSpec, place: str, option: str
) -> None:
    """Raises ValueError that names the first thing in the logs ``spec`` that means something else than in those of
    ``place``. Without a ``layout``, from an earlier version, only shapes are compared."""
    changes = [changed_shapes(shapes, spec.obs_shapes), *([] if layout is None else layout.changes(layout_of(spec)))]
    if change := next(filter(None, changes), None):
        raise ValueError(f"{place}: the logs are others than it learned from: {change}, or set `{option}: null`")


def _check_inputs(first: Statistics, now: Statistics, folder: Path) -> None:
    for name, old, new in (("exogenous", first.exogenous, now.exogenous), ("flags", first.flags, now.flags)):
        if old != new:
            raise ValueError(
                f"{folder}: `dataset.{name}` gives features {new}, and gave {old}: set what it was, or `{FIT}: null`"
            )


def beyond(first: Statistics, now: Statistics, labels: list[str]) -> Iterator[str]:
    """A line about each thing in logs with the statistics ``now`` that a model of logs with the statistics ``first``
    cannot follow, because it keeps their bounds. ``labels`` name the features."""
    margin = SLIGHT * (first.reward_max - first.reward_min)
    if now.reward_min < first.reward_min - margin or now.reward_max > first.reward_max + margin:
        yield (
            f"rewards reach from {now.reward_min:.4g} to {now.reward_max:.4g}; the model keeps the range "
            f"{first.reward_min:.4g} to {first.reward_max:.4g} of its first logs"
        )
    excess = {i: _excess(first, now, i) for i in first.active}
    if far := sorted((i for i in excess if excess[i] > FAR), key=lambda i: -excess[i]):
        places = "; ".join(
            f"`{labels[i]}` from {now.obs_min[i]:.4g} to {now.obs_max[i]:.4g}, {excess[i]:.3g} standard deviations "
            f"beyond {first.obs_min[i]:.4g} to {first.obs_max[i]:.4g}"
            for i in far[:NAMED]
        )
        yield f"{len(far)} of {len(labels)} features lie far outside of the first logs: {places}"
    if new := [short(labels[i]) for i in now.changing if i not in first.changing]:
        names = ", ".join(new[:NAMED])
        yield f"the model copies {names} ({len(new)} in all): in its first logs they did not change"


def _excess(first: Statistics, now: Statistics, i: int) -> float:
    """How far feature ``i`` leaves its first range, in standard deviations."""
    return max(first.obs_min[i] - now.obs_min[i], now.obs_max[i] - first.obs_max[i]) / first.obs_std[i]


def _labels(spec: DatasetSpec) -> list[str]:
    """The names of the features of the flat observation."""
    return [name for key in spec.vector_keys for name in spec.obs_names[key]]
