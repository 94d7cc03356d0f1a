"""params.yaml key by key as Markdown, from the dataclasses that read it."""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
from collections.abc import Mapping
from typing import Any

from roles import linked

from pipeline.evaluation import EvaluationConfig
from pipeline.evaluation.monitor import MonitorConfig
from pipeline.imagination import RolloutConfig
from pipeline.ingest.sources import SOURCES
from pipeline.ingest.sources.base import SourceConfig
from pipeline.ope import OfflineConfig
from pipeline.policies import LEARNERS
from pipeline.policies.bc import BCConfig
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.uncertainty import PenaltyConfig
from pipeline.world_models import WORLD_MODELS

Block = Mapping[str, type]
BLOCKS: dict[str, tuple[str, Block]] = {
    "dataset": ("source", {name: source.Config for name, source in SOURCES.items()}),
    "world_model": ("name", {name: model.Config for name, model in WORLD_MODELS.items()}),
    "fit": ("", {"": FitConfig}),
    "penalty": ("", {"": PenaltyConfig}),
    "rollout": ("", {"": RolloutConfig}),
    "policy": ("name", {name: learner.Config for name, learner in LEARNERS.items()}),
    "bc": ("", {"": BCConfig}),
    "monitor": ("", {"": MonitorConfig}),
    "offline": ("", {"": OfflineConfig}),
    "evaluation": ("", {"": EvaluationConfig}),
    "trainer": ("", {"": TrainerConfig}),
}


def parameter_reference() -> str:
    """One section a block; a table for what all choices share, then one for each choice's own keys."""
    parts = ["## seeds\n\nA list of distinct whole numbers from 0 on. Each seed has its own model and policy.\n"]
    for block, (key, configs) in BLOCKS.items():
        parts.append(f"## {block}\n")
        if not key:
            parts += [_explained(configs[""]), _table(configs[""], set())]
            continue
        shared = set.intersection(*({f.name for f in dataclasses.fields(c)} for c in configs.values()))
        if shared:
            parts.append(f"Keys of every `{block}.{key}`:\n")
            parts += [_explained(SourceConfig)] if block == "dataset" else []
            parts.append(_table(next(iter(configs.values())), {f for f in _names(configs) if f not in shared}))
        for name, config in configs.items():
            own = _table(config, shared)
            parts.append(f"### {block}: {key}: {name}\n\n{_explained(config)}\n{own or 'No keys of its own.'}\n")
    return "\n".join(parts)


def _names(configs: Block) -> set[str]:
    return {f.name for config in configs.values() for f in dataclasses.fields(config)}


def _explained(config: Any) -> str:
    """The docstring of a config class, where it has one of its own."""
    text = inspect.getdoc(config) or ""
    return "" if text.startswith(f"{config.__name__}(") else linked(text) + "\n"


def _table(config: Any, without: set[str]) -> str:
    meaning = _comments(config)
    rows = [
        f"| `{f.name}` | {_code(f.type if isinstance(f.type, str) else getattr(f.type, '__name__', f.type))} "
        f"| {_default(f)} | {meaning.get(f.name, '')} |"
        for f in dataclasses.fields(config)
        if f.name not in without
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""]) if rows else ""


def _default(field: Any) -> str:
    if field.default is not dataclasses.MISSING:
        return (
            "required" if field.default == "???" else _code("null" if field.default is None else _yaml(field.default))
        )
    if field.default_factory is not dataclasses.MISSING:
        return _code(_yaml(field.default_factory()))
    return "required"


def _yaml(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return str(dataclasses.asdict(value)).replace("'", "")
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _code(text: Any) -> str:
    words = str(text).replace("None", "null").split(" | ")
    return " or ".join(f"`{word}`" for word in words)


def _comments(config: Any) -> dict[str, str]:
    """The comment behind each field, of the class and its bases; a comment may go on in the lines below."""
    comments: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        source = textwrap.dedent(inspect.getsource(base))
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        at = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            line = node.end_lineno or 0
            words = [at[line].string] if line in at else []
            while words and line + 1 in at and at[line + 1].line.lstrip().startswith("#"):
                line += 1
                words.append(at[line].string)
            if words:
                comments[node.target.id] = " ".join(word.lstrip("# ") for word in words).replace("|", "\\|")
    return comments
