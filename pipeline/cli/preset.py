"""``preset NAME``: an overlay of pipeline/presets written into params.yaml, where it can be seen and changed."""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.params import did_you_mean
from pipeline.tracking.paths import main_project

PRESETS = Path(__file__).parents[1] / "presets"
BASE = "pendulum"
# Sources, models and learners have options of their own, so an old block must not shine through another one's.
REPLACED = {"dataset": None, "world_model": "name", "policy": "name"}


def apply_preset(name: str, params_file: Path) -> list[str]:
    """Write the preset ``name`` into ``params_file`` and return what changed, one line a value.

    Raises ValueError for an unknown preset or a params file that is missing or broken.
    """
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if name not in known:
        raise ValueError(f"preset `{name}` is unknown{did_you_mean(name, known)}")
    yaml = _round_trip()
    params = _load(yaml, params_file)
    # The complete base first, so that nothing of an earlier preset stays behind.
    overlay = _read_preset(yaml, BASE)
    _merge(overlay, _read_preset(yaml, name), "")
    changes = _merge(params, overlay, "")
    temporary = params_file.with_suffix(".yaml.new")
    with temporary.open("w") as file:
        yaml.dump(params, file)
    temporary.replace(params_file)
    return changes or [f"{params_file} already is preset `{name}`"]


def _read_preset(yaml: YAML, name: str) -> Any:
    return yaml.load((PRESETS / f"{name}.yaml").read_text().replace("${DATA}", str(data_folder())))


def data_folder() -> Path:
    """``OFFLINE_RL_DATA``, else ../shared/data; absolute, so that DVC's temporary copies find it too."""
    return (main_project() / (os.environ.get("OFFLINE_RL_DATA") or "../shared/data")).resolve()


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _load(yaml: YAML, path: Path) -> Any:
    if not path.exists():
        raise ValueError(f"{path}: not found; run from the project's root")
    try:
        return yaml.load(path)
    except Exception as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _merge(base: Any, overlay: Any, where: str) -> list[str]:
    changes = []
    for key, value in overlay.items():
        old = base.get(key)
        both = isinstance(value, MutableMapping) and isinstance(old, MutableMapping)
        if both and not _replaces(where + key, old, value):
            changes += _merge(old, value, f"{where}{key}.")
        elif old != value:
            changes.append(f"{where}{key}: {_short(old)} -> {_short(value)}")
            base[key] = _with_tail(old, value)
    return changes


def _replaces(place: str, old: Any, new: Any) -> bool:
    """Whether the options of the old block would not fit the new one."""
    if place not in REPLACED:
        return False
    kind = REPLACED[place]
    return kind is None or (kind in new and new[kind] != old.get(kind))


def _with_tail(old: Any, new: Any) -> Any:
    """``new`` with the comment lines that stand after ``old``: ruamel keeps those of the next block there."""
    if isinstance(old, MutableMapping) and isinstance(new, MutableMapping) and old and new:
        tail = old.ca.items.get(list(old)[-1])  # type: ignore[attr-defined]
        if tail is not None:
            new.ca.items.setdefault(list(new)[-1], tail)  # type: ignore[attr-defined]
    return new


def _short(value: Any) -> str:
    return "{...}" if isinstance(value, MutableMapping) else "(none)" if value is None else str(value)
