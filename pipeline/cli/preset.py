"""``preset NAME``: params.yaml with the defaults and what a preset changes of them, where it can be seen and edited.

A default is written once, in the config class. A preset holds what differs, and names the presets that it
``extends``, in order. Files whose names start with ``_`` are parts of presets, not presets.
"""

import dataclasses
import itertools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, CommentToken
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.representer import RoundTripRepresenter

from pipeline.cli.fields import default, meanings
from pipeline.params import check_blocks_differ, params_text
from pipeline.stages.preflight import Family, blocks
from pipeline.tracking.paths import main_project
from pipeline.validation import did_you_mean

PRESETS = Path(__file__).parents[1] / "presets"
ABSENT = "(absent)"
CHOSEN = {"dataset": "collect", "world_model": "gaussian_ensemble", "policy": "sac"}  # where a preset chooses nothing
CHOSEN_BASELINES = ["bc", "weighted_bc", "td3_bc", "iql"]  # where a preset lists none
# The options of each block, or of each class of it, that params.yaml shows. A block that is missing, or was of another
# class, is written with these.
SHOWN = {
    "dataset.collect": "name path held_out_path env_id episodes seed behaviors action_quantile held_out_fraction "
    "split_seed",
    "dataset.d4rl_hdf5": "name path held_out_path env_id held_out_fraction split_seed",
    "dataset.minari": "name dataset_id path held_out_path held_out_fraction split_seed",
    "dataset.npz": "name path held_out_path action_low action_high",
    "world_model.gaussian_ensemble": "members elites width depth history criterion beta termination",
    "world_model.variational": "samples width depth prior_scale divergence_weight learning_rate termination",
    "world_model.rssm": "recurrence latent deter stoch width members termination",
    "assessment": "gate",
    "fit": "batch_size window max_epochs patience learning_rate_decay",
    "penalty": "name weight",
    "rollout": "length starts refresh_every retain real_ratio",
    "policy.sac": "updates hidden actor_learning_rate discount target_rate layer_norm centered_values bc_weight"
    " return_temperature",
    "policy.actor_critic": "updates batch_size horizon hidden actor_learning_rate critic_learning_rate entropy_weight",
    "policy.cem": "horizon population iterations elites",
    "bc": "updates hidden history",
    "weighted_bc": "updates hidden return_temperature history",
    "td3_bc": "updates hidden bc_weight history",
    "iql": "updates hidden expectile inverse_temperature history",
    "rebrac": "updates hidden bc_weight critic_bc_weight history",
    "monitor": "every episodes",
    "offline": "discount updates critics horizon",
    "evaluation": "episodes bootstrap imagined_horizon imagined_starts",
    "trainer": "accelerator devices threads matmul_precision",
}


def preset_names() -> list[str]:
    """The presets in alphabetical order, without the parts that only other presets use."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml") if not path.stem.startswith("_"))


def described() -> list[str]:
    """One line for each preset: its name, and the first sentence of its comment."""
    width = max(map(len, preset_names()))
    return [f"{name:{width}}  {_first_sentence(PRESETS / f'{name}.yaml')}" for name in preset_names()]


def _first_sentence(file: Path) -> str:
    comment = itertools.takewhile(lambda line: line.startswith("#"), file.read_text().splitlines())
    return " ".join(line.removeprefix("#").strip() for line in comment).split(". ")[0].rstrip(".")


def apply_preset(name: str, params_file: Path) -> list[str]:
    """Write the preset ``name`` into ``params_file`` and return what changed, one line a value.

    Every option that the file shows gets its default or the preset's value, so nothing of an earlier preset stays
    behind; ``seeds`` alone stay unless the preset has some. Raises ValueError for an unknown preset or a params file
    that is missing or broken.
    """
    if name not in preset_names():
        raise ValueError(f"preset `{name}` is unknown{did_you_mean(name, preset_names())}")
    yaml = _round_trip()
    params = _load(yaml, params_file)
    before, preset = _plain(params), read_preset(name)
    for block, kind in blocks().items():
        _set_block(params, block, kind, preset.get(block, {}))
    _set_list(params, "baselines", preset.get("baselines", CHOSEN_BASELINES))
    if "seeds" in preset:
        _set_list(params, "seeds", preset["seeds"])
    changes = _changes(before, _plain(params))
    if changes:
        temporary = params_file.with_suffix(".yaml.new")
        with temporary.open("w") as file:
            yaml.dump(params, file)
        shutil.copyfile(params_file, backup_of(params_file))
        temporary.replace(params_file)
    return changes or [f"{params_file} already is preset `{name}`"]


def backup_of(params_file: Path) -> Path:
    """Where the file as it was before the last preset is kept: a preset replaces the user's block ``dataset`` too."""
    return params_file.with_suffix(".yaml.bak")


def read_preset(name: str) -> dict[str, Any]:
    """What a preset changes of the defaults, with all that it extends. ``${DATA}`` is the folder of shared logs."""
    own = _with_data_folder(YAML(typ="safe").load(PRESETS / f"{name}.yaml") or {})
    merged: dict[str, Any] = {}
    for layer in [*map(read_preset, own.pop("extends", [])), own]:
        for block, value in layer.items():
            merged[block] = {**merged.get(block, {}), **value} if isinstance(value, dict) else value
    return merged


def _with_data_folder(value: Any) -> Any:
    """``value`` with the folder in place of ``${DATA}``: in the values, because a path may hold signs of YAML."""
    if isinstance(value, dict):
        return {key: _with_data_folder(part) for key, part in value.items()}
    return value.replace("${DATA}", str(data_folder())) if isinstance(value, str) else value


def data_folder() -> Path:
    """``OFFLINE_RL_DATA``, else ../shared/data; absolute, so that DVC's temporary copies find it too."""
    return (main_project() / (os.environ.get("OFFLINE_RL_DATA") or "../shared/data")).resolve()


def _set_list(params: CommentedMap, name: str, values: list[Any]) -> None:
    """One of the lists at the top of the file; it stays as it is if it has these values."""
    if name not in params:
        params.insert(0, name, _node(values))
    elif _plain(params[name]) != values:
        params[name] = _node(values)


def _set_block(params: CommentedMap, name: str, kind: type | Family, preset: Mapping[str, Any]) -> None:
    old = params.get(name)
    old = old if isinstance(old, CommentedMap) else CommentedMap()
    key = kind.key if isinstance(kind, Family) else None
    choice = preset.get(key or "", CHOSEN.get(name))
    config = kind.registry[choice].Config if isinstance(kind, Family) else kind
    options = {field.name: field for field in dataclasses.fields(config)}
    same = old and name != "dataset" and (key is None or old.get(key) == choice)
    usual = SHOWN.get(name if key is None else f"{name}.{choice}", "").split()
    own = {k: v for k, v in preset.items() if k in options}
    target = {} if key is None else {key: choice}
    for option in dict.fromkeys([*(old if same else usual), *own]):
        if option in options:
            target[option] = own[option] if option in own else default(options[option])
    if _plain(old) != target:
        params[name] = _block(old, target, meanings(config))


def _block(old: CommentedMap, target: Mapping[str, Any], texts: Mapping[str, str]) -> CommentedMap:
    """The block ``target`` with the comments of ``old``; a new option gets its meaning as its comment."""
    new, tail = CommentedMap(), _cut_tail(old)
    new.ca.comment = old.ca.comment
    for key, value in target.items():
        kept = key in old and _plain(old[key]) == value
        new[key] = old[key] if kept else _node(value)
        column = len(f"  {key}: {'' if key == 'behaviors' else _short(value)}") + 2
        if key in old.ca.items:
            new.ca.items[key] = [token if kept else _moved(token, column) for token in old.ca.items[key]]
        elif key not in old and texts.get(key):
            new.yaml_add_eol_comment(texts[key], key, column=column)
    _add_tail(new, tail)
    return new


def _moved(token: CommentToken | None, column: int) -> CommentToken | None:
    """Comments stand two columns behind their value, however long it is."""
    beside = isinstance(token, CommentToken) and token.value.startswith("#")
    return CommentToken(token.value, CommentMark(column), None) if token is not None and beside else token


def _cut_tail(block: CommentedMap) -> str:
    """Removes the empty and comment lines below ``block``, which ruamel attaches to its last value."""
    token = _last_token(block)
    if token is None:
        return "\n"
    beside, _, tail = token.value.partition("\n")
    token.value = f"{beside}\n"
    return str(tail)


def _last_token(node: CommentedMap | CommentedSeq) -> CommentToken | None:
    if not node:
        return None
    last = list(node)[-1] if isinstance(node, CommentedMap) else len(node) - 1
    tokens = [token for token in node.ca.items.get(last, []) if isinstance(token, CommentToken)]
    if tokens:
        return tokens[-1]
    return _last_token(node[last]) if isinstance(node[last], CommentedMap | CommentedSeq) else None


def _add_tail(block: CommentedMap, tail: str) -> None:
    token = _last_token(block)
    if token is not None:
        token.value = token.value.partition("\n")[0] + "\n" + tail
    else:
        block.ca.items[list(block)[-1]] = [None, None, CommentToken("\n" + tail, CommentMark(0), None), None]


def _plain(node: Any) -> Any:
    """Without comments and styles."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, list) else node


def _node(value: Any) -> Any:
    """``value`` as it stands in params.yaml: lists of numbers and mappings within a block in one line."""
    if isinstance(value, dict):
        node: Any = CommentedMap({key: _node(v) for key, v in value.items()})
        node.fa.set_flow_style()
        return node
    if isinstance(value, list):
        node = CommentedSeq([_node(v) for v in value])
        if not any(isinstance(v, dict) for v in value):
            node.fa.set_flow_style()
        return node
    return value


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], where: str = "") -> list[str]:
    """One line for each value that differs."""
    lines = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if not where and isinstance(new, dict):
            lines += _changes(old if isinstance(old, dict) else {}, new, f"{key}.")
        elif old != new:
            lines.append(f"{where}{key}: {_short(old)} -> {_short(new)}")
    return lines


def _short(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


class _Representer(RoundTripRepresenter):
    """Writes ``null`` for None, not nothing."""


_Representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))


def _load(yaml: YAML, path: Path) -> CommentedMap:
    text = params_text(path)
    try:
        params = yaml.load(text)
    except Exception as error:
        check_blocks_differ(path)
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, CommentedMap):
        raise ValueError(f"{path}: expected `section:` blocks, found {type(params).__name__}")
    return params
