"""Every option of params.yaml against hostile values: refused in one line, or accepted because no harm can come of it.

The values are tried on every key of every block and choice, so a new option cannot do without a range.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import annotated_types
import pytest
from pydantic.fields import FieldInfo

from pipeline.params import build, choose
from pipeline.stages.preflight import Family, blocks, check_seeds
from pipeline.training.config import ACCELERATORS, PRECISIONS, STRATEGIES
from pipeline.validation import LARGEST, LARGEST_SEED, OneOf

NUMBERS = [-1, 10**9, 10**10, 2**63, 10**400, 1e308, math.inf, -math.inf, math.nan]
TEXTS = ["", " ", "x", "a\nb", "../x", "/etc/x", "a\0b", "\x1b[31m", "3", "3e-4", "true", "null", "y" * 100_000]
OTHERS = [True, None, [], {}, [[]], [{}], [None], [10**10], [""], {"a": 1}, {"": {}}]
NEEDED: dict[str, dict[str, Any]] = {  # what these choices have no default for
    "callable": {"function": "m:f"},
    "minari": {"dataset_id": "D4RL/door/human-v2"},
    "table": {"obs_columns": ["a"], "action_columns": ["b"]},
}
LOGS = {"path": "data/logs", "held_out_path": "data/logs"}
FREE = {
    "env_kwargs": "the environment judges its own arguments, at ingest",
    "kwargs": "the function of the user judges its own arguments",
    "na_values": "the cells of a table may hold any text",
}


def configs() -> Iterator[tuple[str, type, dict[str, Any]]]:
    """Place, config class and the smallest valid block of every block and choice."""
    for name, kind in blocks().items():
        if isinstance(kind, Family):
            if kind.common is not None:
                yield name, kind.common, {}
            for choice, entry in kind.registry.items():
                block = {**LOGS, **NEEDED.get(choice, {})} if name == "dataset" else {}
                yield f"{name}/{choice}", entry.Config, block
        else:
            yield name, kind, {}


CONFIGS = list(configs())


def nested(kind: type) -> Iterator[type]:
    """``kind`` and the config classes within it."""
    yield kind
    for hint in get_type_hints(kind).values():
        for part in (hint, *get_args(hint)):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                yield from nested(part)


@pytest.mark.parametrize(("place", "config", "block"), CONFIGS, ids=[place for place, _, _ in CONFIGS])
def test_hostile_values_are_refused_in_one_line_or_harmless(place: str, config: type, block: dict[str, Any]):
    refused = 0
    for field in dataclasses.fields(config):
        for value in [*NUMBERS, *TEXTS, *OTHERS] if field.name not in FREE else []:
            case = f"{place}.{field.name}: {value!r:.60}"
            try:
                built = build(config, {**block, field.name: value}, place)
            except Exception as error:
                refused += 1
                mistake = error
            else:
                assert harmless(vars(built)[field.name]), case
                assert not isinstance(value, str) or takes_text(config, field.name), case
                assert value is not True or vars(built)[field.name] is True, case
                continue
            line = str(mistake)
            assert (type(mistake), line.isprintable(), field.name in line) == (ValueError, True, True), (case, line)
            assert len(line) < 700, case
    assert refused > 10 * len(dataclasses.fields(config))


def harmless(value: object) -> bool:
    """Whether ``value`` is within what float32, seeds and file systems can hold."""
    if isinstance(value, bool | None) or dataclasses.is_dataclass(value):
        return True
    if isinstance(value, int):
        return abs(value) <= LARGEST_SEED
    if isinstance(value, float):
        return abs(value) <= LARGEST
    if isinstance(value, str):
        return 1 <= len(value) <= 1000 and "\0" not in value
    if isinstance(value, dict):
        return all(harmless(part) for pair in value.items() for part in pair)
    assert isinstance(value, list)
    return all(map(harmless, value))


def takes_text(config: type, name: str) -> bool:
    hint = get_type_hints(config)[name]
    return str in (hint, *get_args(hint))


KINDS = sorted({kind for _, config, _ in CONFIGS for kind in nested(config)}, key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("config", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_every_option_has_a_range(config: type):
    hints = get_type_hints(config, include_extras=True)
    for name in {field.name for field in dataclasses.fields(config)} - set(FREE):
        hint = hints[name]
        assert bounded(hint), f"{config.__name__}.{name}: {hint} has no range; take a type of pipeline.validation"


def bounded(hint: Any, metadata: tuple[Any, ...] = ()) -> bool:
    """Whether numbers have both bounds, text has a length or choices, and flags are strict."""
    if get_origin(hint) is Annotated:
        inner, *own = get_args(hint)
        return bounded(inner, (*metadata, *flat(own)))
    if hint in (int, float):
        lower = any(isinstance(m, annotated_types.Ge | annotated_types.Gt) for m in metadata)
        upper = any(isinstance(m, annotated_types.Le | annotated_types.Lt) for m in metadata)
        return (lower and upper) or any(isinstance(m, OneOf) for m in metadata)
    if hint is str:
        return any(isinstance(m, annotated_types.MaxLen | OneOf) for m in metadata)
    if hint is bool:
        return any(type(m).__name__ == "Strict" for m in metadata)
    if get_origin(hint) is Literal or hint is type(None) or dataclasses.is_dataclass(hint):
        return True
    return bool(get_args(hint)) and all(bounded(part) for part in get_args(hint))


def flat(metadata: list[Any]) -> Iterator[Any]:
    for entry in metadata:
        yield from entry.metadata if isinstance(entry, FieldInfo) else [entry]


@pytest.mark.parametrize("place", ["dataset.behaviors.noise", "policy.terminal_value.critics", "policy.hidden"])
def test_options_within_options_have_ranges_too(place: str):
    registry = {name: kind.registry for name, kind in blocks().items() if isinstance(kind, Family)}
    hostile: dict[str, dict[str, Any]] = {
        "dataset.behaviors.noise": {"source": "collect", "behaviors": [{"name": "swing_up", "noise": 1e308}]},
        "policy.terminal_value.critics": {"name": "cem", "terminal_value": {"critics": 10**9}},
        "policy.hidden": {"name": "sac", "hidden": [10**9]},
    }
    name = place.split(".")[0]
    with pytest.raises(ValueError, match="must be at most"):
        choose(registry[name], hostile[place], name, "source" if name == "dataset" else "name")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"threads": "3"}, "`trainer.threads`: `3` is text: write 3 without quotes"),
        ({"logs_in_memory": "3e-4"}, "`trainer.logs_in_memory`: `3e-4` is text: write 3e-4 without quotes"),
        ({"threads": 10**9}, "`trainer.threads`: 1000000000 must be at most 1024"),
        ({"precision": "64-true"}, "`trainer.precision`: `64-true` must be one of 32-true, bf16-mixed, 32, "),
        ({"accelerator": "gpuu"}, "(did you mean `gpu`?)"),
        ({"strategy": "fsdp"}, "`trainer.strategy`: `fsdp` must be one of auto, ddp, "),
    ],
)
def test_a_refusal_names_key_value_and_fix(block: dict[str, Any], message: str):
    kind = blocks()["trainer"]
    assert isinstance(kind, type)
    with pytest.raises(ValueError) as caught:
        build(kind, block, "trainer")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", " ", "../x", "a/../b", "/etc/passwd", "a\\b", "a\nb", "a\tb", "\x1b[31mred", "\u2028"]
)
def test_names_of_datasets_are_no_paths_and_one_line(name: str):
    _, config, block = next(entry for entry in CONFIGS if entry[0] == "dataset/collect")
    with pytest.raises(ValueError, match=r"`dataset.name`.*must"):
        build(config, {**block, "name": name}, "dataset")
    assert build(config, {**block, "name": "mine/Тест data-v0"}, "dataset")


@pytest.mark.parametrize(
    "seeds",
    [0, None, [], {}, "0", ["0"], [0.0], [True], [-1], [2**32], [2**63], [0, 0], [[0]], [None], list(range(10**5)) * 2],
)
def test_seeds_are_a_list_of_distinct_whole_numbers(seeds: object):
    with pytest.raises(ValueError, match=r"`seeds`: .*must list distinct whole numbers from 0 to 4294967295") as caught:
        check_seeds(seeds)
    assert len(str(caught.value)) < 200


def test_seeds_may_be_as_large_as_numpy_takes():
    check_seeds([0, 2**32 - 1])


def test_a_path_that_no_file_system_holds_is_refused():
    _, config, _ = next(entry for entry in CONFIGS if entry[0] == "dataset/npz")
    with pytest.raises(ValueError, match=r"`dataset.path`: `logs/yyy.* at most 255 bytes"):
        build(config, {"path": "logs/" + "y" * 256, "held_out_path": "logs"}, "dataset")


def test_lightning_accepts_what_the_trainer_accepts():
    from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT_STR, _PRECISION_INPUT_STR_ALIAS
    from lightning.pytorch.accelerators import AcceleratorRegistry
    from lightning.pytorch.strategies import StrategyRegistry

    assert set(ACCELERATORS) == {"auto", "gpu", *AcceleratorRegistry.available_accelerators()}
    assert set(STRATEGIES) - {"auto"} <= set(StrategyRegistry.available_strategies())
    assert set(PRECISIONS) <= {*get_args(_PRECISION_INPUT_STR), *get_args(_PRECISION_INPUT_STR_ALIAS)}
