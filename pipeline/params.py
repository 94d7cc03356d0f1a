"""params.yaml -> frozen dataclasses. The only module that knows OmegaConf.

A config class stands beside the class it configures. A block that chooses between several (``name: sac``) is looked up
in that family's registry and the rest of the block is loaded against the chosen class's ``Config``.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

C = TypeVar("C")
RENAMED = {  # old key of params.yaml -> the key that replaced it
    "dataset.behaviours": "behaviors",
    "dataset.licence": "license",
    "penalty.neighbours": "neighbors",
    "policy.behaviour_weight": "bc_weight",
    "policy.centred_values": "centered_values",
    "policy.colour": "color",
    "policy.trace": "td_lambda",
    "rollout.real_share": "real_ratio",
}


def read_params(path: Path | str = "params.yaml") -> dict[str, Any]:
    """The whole file as plain containers. Raises ValueError with the fix when it is missing or is not valid YAML."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: not found; run from the project's root, or `python -m pipeline preset pendulum`")
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except Exception as error:  # YAML and interpolation errors share no base class
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected `section:` blocks, found {type(loaded).__name__}")
    return {str(k): v for k, v in loaded.items()}


def section(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One block of params.yaml."""
    if name not in params:
        raise ValueError(f"params.yaml: block `{name}` is missing{did_you_mean(name, params)}")
    block = params[name]
    if not isinstance(block, dict):
        raise ValueError(f"params.yaml: `{name}` must be a block of `key: value` lines, not {block!r}")
    return block


def build(config_class: type[C], block: Mapping[str, Any], where: str) -> C:
    """``block`` as an instance of the frozen dataclass ``config_class``, blocks within it too; unknown keys and wrong
    types are refused."""
    known = {f.name for f in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    for key in block:
        new = RENAMED.get(f"{where.split('.')[0]}.{key}")
        if new is not None and new in known:
            raise ValueError(f"params.yaml: `{where}.{key}` is now `{where}.{new}`; rename the key")
        if key not in known:
            raise ValueError(f"params.yaml: unknown key `{where}.{key}`{did_you_mean(str(key), known)}")
    # OmegaConf would refuse to fill in a frozen block within another.
    inner: dict[str, Any] = {
        k: build(kind, block[k], f"{where}.{k}")
        for k, kind in _inner(config_class).items()
        if isinstance(block.get(k), Mapping)
    }
    plain = {k: v for k, v in block.items() if k not in inner}
    try:
        made: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(config_class), plain))
        made = dataclasses.replace(made, **inner) if inner else made
        for name in known:
            _check_number(name, getattr(made, name))
        return made
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "?"
        raise ValueError(f"params.yaml: `{where}.{key}`: {str(error).splitlines()[0]}") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"params.yaml: `{where}`: {error}") from None


def _check_number(name: str, value: Any) -> None:
    """What no config may hold: NaN, a learning rate that learns nothing, a layer without units."""
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"{name} is not a number")
    if name.endswith("learning_rate") and not 0 < value < math.inf:
        raise ValueError(f"{name} {value} must be above 0, such as 0.001")
    if (name == "width" and value < 1) or (name == "depth" and value < 0):
        raise ValueError(f"{name} {value} is no size of a network, such as 128 wide and 3 deep")
    if name == "hidden" and any(width < 1 for width in value):
        raise ValueError(f"hidden {value} must list the widths of layers, such as [128, 128]")


def _inner(config_class: type) -> dict[str, type]:
    """The fields of a config that are null or a config of their own."""
    unions = {k: get_args(hint) for k, hint in get_type_hints(config_class).items() if isinstance(hint, UnionType)}
    return {k: kind for k, kinds in unions.items() for kind in kinds if _is_config(kind)}


def _is_config(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind)


def choose(registry: Mapping[str, Any], block: Mapping[str, Any], where: str, key: str = "name") -> tuple[Any, Any]:
    """The registry's entry that ``block[key]`` names, and its ``Config`` built from the rest of the block.

    Options that only another entry knows do not count, so that changing the name alone is enough.
    """
    chosen = str(block.get(key))
    if chosen not in registry:
        raise ValueError(f"params.yaml: `{where}.{key}: {chosen}` is unknown{did_you_mean(chosen, registry)}")
    own, others = _options(registry[chosen]), set[str]().union(*map(_options, registry.values()))
    rest = {k: v for k, v in block.items() if k != key and (k in own or k not in others)}
    return registry[chosen], build(registry[chosen].Config, rest, where)


def _options(entry: Any) -> set[str]:
    return {f.name for f in dataclasses.fields(entry.Config)}


def did_you_mean(word: str, known: Any) -> str:
    """' (did you mean `x`?)' or the list of what is known."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(word, names, n=1)
    return f" (did you mean `{close[0]}`?)" if close else f" (known: {', '.join(sorted(names))})"
