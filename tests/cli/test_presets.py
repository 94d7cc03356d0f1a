"""Every preset gives valid params, says only what differs, and leaves nothing behind."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from closure import ROOT
from ruamel.yaml import YAML

from pipeline.cli.fields import default
from pipeline.cli.preset import CHOSEN, PRESETS, SHOWN, apply_preset, described, preset_names, read_preset
from pipeline.params import read_params
from pipeline.stages import preflight

NAMES = preset_names()
FILES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
DEFAULT = "pendulum"
ANOTHER = "hopper-mixed-rssm"  # of another source and another world model, with keys that the others lack
DATASETS = {
    "ci": None,
    "pendulum-actor-critic": "pendulum",
    "pendulum-cem": "pendulum",
    "pendulum-rssm": "pendulum",
    "pendulum-variational": "pendulum",
    "pendulum-masked-rssm": "pendulum-masked",
    "hopper-mixed-rssm": "hopper-mixed",
}  # of the presets that are not named after theirs


@pytest.fixture
def params(tmp_path: Path) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    return file


def own(name: str) -> dict[str, Any]:
    """What the file itself says."""
    return YAML(typ="safe").load((PRESETS / f"{name}.yaml").read_text())


def options(block: str, choice: str | None) -> dict[str, Any]:
    """The fields of a block's config class by name."""
    kind = preflight.blocks()[block]
    config = kind.registry[choice].Config if isinstance(kind, preflight.Family) else kind
    return {field.name: field for field in dataclasses.fields(config)}


def built(params: dict[str, Any]) -> dict[str, Any]:
    """All configs as the stages see them."""
    return {name: preflight.load(kind, params, name) for name, kind in preflight.blocks().items()}


def test_every_preset_is_described_in_a_line() -> None:
    lines = described()
    assert [line.split()[0] for line in lines] == preset_names()
    assert all(len(line.split()) > 2 and len(line) < 160 for line in lines)


def test_params_yaml_shows_the_defaults_of_the_classes():
    params = read_params(ROOT / "params.yaml")
    for block, kind in preflight.blocks().items():
        shown, key = dict(params[block]), kind.key if isinstance(kind, preflight.Family) else None
        choice = shown.pop(key) if key else None
        assert choice == CHOSEN.get(block)
        assert list(shown) == SHOWN[f"{block}.{choice}" if key else block].split()
        fields = options(block, choice)
        defaults = {name: default(fields[name]) for name in shown}
        if block == "dataset":
            defaults["name"] = DEFAULT
        assert shown == defaults


def test_committed_params_are_the_default_preset(params: Path):
    assert apply_preset(DEFAULT, params) == [f"{params} already is preset `{DEFAULT}`"]
    assert params.read_text() == (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize("name", FILES)
def test_no_preset_repeats_a_parent_or_a_default(name: str):
    said = own(name)
    parents: dict[str, Any] = {}
    for parent in said.pop("extends", []):
        for block, values in read_preset(parent).items():
            parents[block] = values if block in preflight.LISTS else {**parents.get(block, {}), **values}
    for block, values in said.items():
        if block in preflight.LISTS:
            assert values != parents.get(block)
            continue
        kind = preflight.blocks()[block]
        key = kind.key if isinstance(kind, preflight.Family) else None
        choice = {**parents.get(block, {}), **values}.get(key, CHOSEN.get(block))
        fields = options(block, choice)
        assert set(values) - {key} <= set(fields)
        for option in set(values) - {key}:
            absent = object()
            given = parents.get(block, {}).get(option, absent)
            if given is absent and fields[option].default is not dataclasses.MISSING:
                given = default(fields[option])
            assert values[option] != given, f"{name}: {block}.{option} is {given} anyway"


def test_every_part_is_used():
    used = {parent for name in FILES for parent in own(name).get("extends", [])}
    assert {name for name in FILES if name not in NAMES} <= used


@pytest.mark.parametrize("name", NAMES)
def test_preset_passes_all_checks_and_keeps_the_blocks(name: str, params: Path):
    blocks = list(read_params(params))
    apply_preset(name, params)
    changed = read_params(params)
    preflight.check(changed)
    assert list(changed) == blocks
    assert changed["dataset"].get("name") == DATASETS.get(name, name)


@pytest.mark.parametrize("name", [n for n in NAMES if n != DEFAULT])
def test_nothing_of_an_earlier_preset_stays_behind(name: str, params: Path):
    before = read_params(params)
    apply_preset(name, params)
    direct = read_params(params)
    assert direct != before
    apply_preset(ANOTHER, params)
    apply_preset(name, params)
    assert built(read_params(params)) == built(direct)
    apply_preset(DEFAULT, params)
    assert read_params(params) == before


def test_own_options_go_back_to_their_defaults(params: Path):
    params.write_text(params.read_text().replace("  layer_norm: false", "  critics: 10  # mine\n  layer_norm: false"))
    assert "policy.critics: 10 -> 2" in apply_preset(DEFAULT, params)
    assert "  critics: 2  # mine\n" in params.read_text()


def test_comments_survive_the_round_trip(params: Path):
    for name in (*NAMES, DEFAULT):
        apply_preset(name, params)
    text = params.read_text()
    for comment in ("# a list; each seed is its own world model", "\n\n# max_aleatoric, disagreement"):
        assert comment in text


def test_another_class_brings_its_own_options_with_their_meaning(params: Path):
    apply_preset("pendulum-actor-critic", params)
    policy = read_params(params)["policy"]
    assert policy["name"] == "actor_critic"
    assert "layer_norm" not in policy  # an option of the policy before it
    assert "  horizon: 15  # imagined steps" in params.read_text()


def test_a_missing_block_is_written(params: Path):
    before = read_params(params)
    text = params.read_text()
    start, end = text.index("\nbc:"), text.index("\nmonitor:")
    params.write_text(text[:start] + text[end:])
    apply_preset(DEFAULT, params)
    assert read_params(params) == before
