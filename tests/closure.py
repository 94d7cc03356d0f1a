"""Which library files the outputs of a stage depend on: the import closure, without the exceptions named here."""

import ast
import importlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Modules, or rooms, that no output of a stage depends on. Imports are not followed into them.
NO_OUTPUT = {
    "pipeline.tracking": "MLflow runs, log files and stage keys: they record a stage and give it nothing",
    "pipeline.stages.stage": "opens and ends the run of a stage, and turns errors into messages",
    "pipeline.stages.preflight": "checks params.yaml and raises; it imports every room",
    "pipeline.training.progress": "prints how far a training is",
    "pipeline.params": "reads params.yaml into configs; DVC tracks the values, and most edits here change a message",
    "pipeline.validation": "types of options and records, their JSON form, and messages; the values are tracked",
    "pipeline.serving.mlflow_logging": "copies the finished bundle to MLflow",
    "pipeline.serving.input_example": "the example that goes with this copy",
}
# Modules, or rooms, that one stage imports on the way and never uses.
UNUSED = {
    "baseline": {
        "pipeline.imagination": "training gets None in its place; the import serves annotations and imagined batches",
        "pipeline.world_models": "the bundle names the world model that encodes; here an encoder of the logs does",
        "pipeline.serving.load_bundle": "reads policies from disk; the agent of the monitor is the learner in memory",
    },
}
# Registries from which a stage takes one entry, whose own module it lists.
REGISTRIES = {"baseline": {"pipeline.policies"}}


def module_file(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


@cache  # every test of a stage reads most files again
def imports(file: Path) -> frozenset[str]:
    """The pipeline modules that ``file`` imports at run time, in functions too."""
    found: set[str] = set()
    tree = ast.parse(file.read_text())
    skipped = {id(n) for node in ast.walk(tree) if _type_checking(node) for n in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return frozenset(m for m in found if m.split(".")[0] == "pipeline" and module_file(m))


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def excepted(stage: str) -> set[str]:
    """The modules and rooms whose edits do not re-run ``stage``."""
    return {*NO_OUTPUT, *UNUSED.get(stage, {})}


def within(module: str, rooms: set[str]) -> bool:
    """Whether ``module`` is one of ``rooms`` or lies in one."""
    return any(f"{module}.".startswith(f"{room}.") for room in rooms)


def closure(stage: str, entry: str | None = None) -> list[str]:
    """The project files that the outputs of ``stage`` depend on, relative to the root and sorted. ``entry`` is the
    module of the registry's entry that it takes.

    A package counts where a module imports names from it, such as a registry. It does not count as the parent of an
    imported module: ``import pipeline.policies.bc`` executes ``pipeline/policies/__init__.py``, and thereby every
    learner, but uses none of the others.
    """
    waiting, seen = {f"pipeline.stages.{stage}", *([entry] if entry else [])}, set[str]()
    while waiting:
        current = waiting.pop()
        seen.add(current)
        imported = imports(source(current)) - REGISTRIES.get(stage, set())
        waiting |= {m for m in imported if not within(m, excepted(stage))} - seen
    return sorted(source(m).relative_to(ROOT).as_posix() for m in seen)


def source(module: str) -> Path:
    file = module_file(module)
    assert file is not None, module
    return file


def data_paths(stage: str, which: str) -> list[str]:
    """READS or WRITES of a stage, as dvc.yaml spells them."""
    module = importlib.import_module(f"pipeline.stages.{stage}")
    return [p.replace("{seed}", "${item.seed}").replace("{name}", "${item.name}") for p in getattr(module, which)]
