"""params.yaml -> frozen dataclasses. OmegaConf reads the file, pydantic checks what it holds; no other module knows
OmegaConf.

A config class stands beside the class it configures. A block that chooses between several (``name: sac``) is looked up
in that family's registry and the rest of the block is loaded against the chosen class's ``Config``.
"""

import dataclasses
import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ValidationError

from pipeline.validation import adapter_of, closest, did_you_mean, first_mistake, one_line, short

C = TypeVar("C")
MOST_BYTES = 1_000_000  # of params.yaml
MOST = 100  # characters of a name that is compared with others
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
    text = params_text(Path(path))
    from omegaconf import OmegaConf  # a served policy reads no params.yaml

    try:
        loaded = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=True)
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply; write `section:` blocks of `key: value` lines") from None
    except Exception as error:  # YAML and interpolation errors share no base class
        check_blocks_differ(Path(path))
        reason = one_line(str(error)).replace(' in "<file>",', " in")
        raise ValueError(f"{path}: not valid YAML: {reason}") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"{path}: expected `section:` blocks, found {type(loaded).__name__}")
    return {str(k): v for k, v in loaded.items()}


def params_text(path: Path) -> str:
    """What the file holds. Raises ValueError for what is no readable file of UTF-8, and for aliases that explode."""
    if not path.exists():
        raise ValueError(f"{path}: not found; run from the project's root, or `python -m pipeline preset pendulum`")
    if not path.is_file():
        raise ValueError(f"{path}: a folder or a pipe; put a file there")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path}: longer than {MOST_BYTES:,} bytes; params.yaml has a few thousand")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    if re.search(r"\*\w", text):
        _check_aliases(path, text)
    return text


def _check_aliases(path: Path, text: str) -> None:
    """Aliases of aliases make a short file endless."""
    from ruamel.yaml import YAML, YAMLError
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

    sizes: dict[int, float] = {}

    def size(node: Node) -> float:
        if isinstance(node, ScalarNode):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # while it is open: an alias to itself
            pairs = isinstance(node, MappingNode)
            parts = [part for entry in node.value for part in (entry if pairs else [entry])]
            sizes[id(node)] = 1 + sum(map(size, parts))
        return sizes[id(node)]

    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except (YAMLError, RecursionError):
        return  # the reader says what is wrong
    if node is not None and size(node) > MOST_BYTES:
        raise ValueError(f"{path}: its aliases (`*name`) stand for themselves or for too much; write the values out")


def with_settings(params: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
    """params.yaml with the settings, as DVC writes them. Raises ValueError for text that is no value of YAML."""
    from omegaconf import OmegaConf  # a served policy reads no params.yaml

    dotted = [f"{key}={value}" for key, value in settings.items()]
    try:
        merged = OmegaConf.to_container(OmegaConf.merge(OmegaConf.create(dict(params)), OmegaConf.from_dotlist(dotted)))
    except Exception as error:  # YAML, keys and merging share no base class
        raise ValueError(f"cannot be set: {one_line(str(error))}") from None
    assert isinstance(merged, dict)
    return {str(key): value for key, value in merged.items()}


def check_blocks_differ(path: Path) -> None:
    """Raises ValueError if a block is in the file twice, which a YAML parser reports over several lines."""
    lines: dict[str, int] = {}
    for number, line in enumerate(params_text(path).splitlines(), 1):
        key = re.match(r"(\w+)\s*:", line)
        if key is None:
            continue
        first = lines.setdefault(key[1], number)
        if first != number:
            raise ValueError(f"{path}: block `{key[1]}` is there twice, in lines {first} and {number}; remove one")


def section(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One block of params.yaml."""
    if name not in params:
        hint = closest(name, params) or f"; add `{name}: {{}}` for its defaults"
        raise ValueError(f"params.yaml: block `{name}` is missing{hint}")
    block = params[name]
    if not isinstance(block, dict):
        raise ValueError(f"params.yaml: `{name}` must be a block of `key: value` lines, not {short(block)}")
    return block


def build(config_class: type[C], block: Mapping[str, Any], where: str) -> C:
    """``block`` as an instance of the frozen dataclass ``config_class``, blocks within it too. Raises ValueError of one
    line that names the key, its value and the fix."""
    _check_keys(config_class, block, where)
    try:
        return adapter_of(config_class).validate_python(dict(block))
    except ValidationError as error:
        place, reason = first_mistake(error, block)
        raise ValueError(f"params.yaml: `{where}{'.' if place else ''}{place}`: {reason}") from None


def _check_keys(config_class: type, block: Mapping[str, Any], where: str) -> None:
    """Refuses keys that ``config_class`` and the configs within it do not have."""
    hints = get_type_hints(config_class)
    names = [field.name for field in dataclasses.fields(config_class)]
    for key, value in block.items():
        new = RENAMED.get(f"{where.split('.')[0]}.{key}")
        if new is not None and new in names:
            raise ValueError(f"params.yaml: `{where}.{key}` is now `{where}.{new}`; rename the key")
        if key not in names:
            hint = did_you_mean(str(key)[:MOST], names)
            raise ValueError(f"params.yaml: unknown key {short(f'{where}.{key}')}{hint}")
        inner = next((kind for kind in get_args(hints[key]) if dataclasses.is_dataclass(kind)), None)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(inner, type) and isinstance(entry, Mapping):
                _check_keys(inner, entry, f"{where}.{key}")


def choose(registry: Mapping[str, Any], block: Mapping[str, Any], where: str, key: str = "name") -> tuple[Any, Any]:
    """The registry's entry that ``block[key]`` names, and its ``Config`` built from the rest of the block.

    Options that only another entry knows do not count, so that changing the name alone is enough.
    """
    chosen = str(block.get(key))
    if chosen not in registry:
        unknown = short(f"{where}.{key}: {chosen}")
        raise ValueError(f"params.yaml: {unknown} is unknown{did_you_mean(chosen[:MOST], registry)}")
    own, others = _options(registry[chosen]), set[str]().union(*map(_options, registry.values()))
    rest = {k: v for k, v in block.items() if k != key and (k in own or k not in others)}
    return registry[chosen], build(registry[chosen].Config, rest, where)


def apart(config_class: type[C], block: Mapping[str, Any], where: str) -> tuple[C, dict[str, Any]]:
    """The options ``config_class``, which a block has whatever class it chooses, and the rest of the block."""
    names = get_type_hints(config_class)
    own = {key: value for key, value in block.items() if key in names}
    return build(config_class, own, where), {key: value for key, value in block.items() if key not in names}


def _options(entry: Any) -> set[str]:
    return {f.name for f in dataclasses.fields(entry.Config)}
