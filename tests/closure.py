"""Which library files a stage runs: the import closure, and what dvc.yaml should list of it.

`python tests/closure.py` writes the lists into dvc.yaml.
"""

import ast
import importlib
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
# It reads params.yaml and raises; nothing a stage writes depends on it, and it imports everything.
BOUNDARY = {"pipeline.stages.preflight"}


def module_file(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def imports(file: Path) -> set[str]:
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
    return {m for m in found if m.split(".")[0] == "pipeline" and module_file(m)}


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def closure(module: str) -> list[str]:
    """Every project file that ``module`` runs, relative to the root and sorted."""
    waiting, seen = {module}, set()
    while waiting:
        current = waiting.pop()
        seen.add(current)
        parents = {current.rsplit(".", i)[0] for i in range(1, current.count(".") + 1)}
        file = module_file(current)
        assert file is not None, current
        waiting |= (imports(file) | parents) - seen - BOUNDARY
    files = {str(module_file(m).relative_to(ROOT)) for m in seen}  # type: ignore[union-attr]
    return sorted(files)


def data_paths(stage: str, which: str) -> list[str]:
    """READS or WRITES of a stage, as dvc.yaml spells them."""
    module = importlib.import_module(f"pipeline.stages.{stage}")
    return [p.replace("{seed}", "${item.seed}") for p in getattr(module, which)]


def write() -> None:
    yaml = YAML()
    yaml.width = 120
    document = yaml.load((ROOT / "dvc.yaml").read_text())
    for name, stage in document["stages"].items():
        kept = [d for d in stage["deps"] if not str(d).endswith(".py")]
        stage["deps"] = kept + closure(f"pipeline.stages.{name}")
    with (ROOT / "dvc.yaml").open("w") as file:
        yaml.dump(document, file)


if __name__ == "__main__":
    write()
