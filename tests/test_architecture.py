"""The house rules that imports and syntax can show."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from closure import ROOT, imports

FILES = sorted((ROOT / "pipeline").rglob("*.py"))
CORE = {"types", "interfaces", "params", "randomness", "networks", "standardise", "imagination", "training",
        "distributions", "images", "frames", "history"}  # fmt: skip
# What each family may import of the project, beside itself. What is not listed here meets in `stages` alone.
MAY_IMPORT = {
    "types": set(),
    "randomness": set(),
    "params": set(),
    "interfaces": {"types"},
    "imagination": {"interfaces", "types"},
    "networks": set(),
    "distributions": set(),
    "images": set(),
    "standardise": {"types"},
    "frames": {"standardise", "types"},
    "history": {"standardise", "types"},
    "training": {"randomness"},
    "cartpole": set(),
    "distractors": set(),
    "env_ids": set(),
    "actions": set(),
    "environments": {"cartpole", "distractors", "env_ids"},
    # sources ask the environment that made the logs; batches know what filters an observation, and are drawn
    "data": {"actions", "env_ids", "environments", "interfaces", "params", "randomness", "standardise", "types"},
    "world_models": {"distributions", "history", "images", "interfaces", "networks", "randomness", "standardise",
                     "training", "types"},
    # imagination says what params.yaml may leave to the assessment
    "uncertainty": {"imagination", "interfaces", "types"},
    # learners imagine, but never learn which model or penalty they imagine with
    "policies": {"actions", "distributions", "history", "images", "imagination", "interfaces", "networks", "randomness",
                 "standardise", "training", "types"},
    # a planner may ask a learner's critics what lies beyond its plan
    "planners": {"imagination", "policies", "randomness", "types"},
    "learners": {"planners", "policies"},
    # a bundle is read by way of the registries of what acts and of world models, which filter and imagine for them
    "bundle": {"interfaces"},
    "unbundle": {"actions", "bundle", "frames", "history", "imagination", "interfaces", "learners", "params",
                 "planners", "policies", "standardise", "uncertainty", "world_models"},
    "agents": {"actions", "bundle", "interfaces", "policies", "standardise", "unbundle"},
    # evaluation compares agents with logs and with what was imagined, so it stands above data, policies and penalties
    # judging a policy offline learns critics of the policies' own kind
    "evaluation": {"actions", "agents", "bundle", "data", "environments", "imagination", "interfaces", "policies",
                   "randomness", "standardise", "types", "uncertainty", "world_models"},
    "reporting": {"actions", "data", "tracking"},
}  # fmt: skip
LONGEST = 300  # lines of a file


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def family(file: Path) -> str:
    return file.relative_to(ROOT / "pipeline").parts[0].removesuffix(".py")


def families(file: Path) -> set[str]:
    """The families that ``file`` imports."""
    return {m.split(".")[1] for m in imports(file) if "." in m} - {family(file)}


def outside(file: Path) -> set[str]:
    """The packages that ``file`` imports, in functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {n.split(".")[0] for n in names}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_families_import_only_what_lies_below_them(name: str):
    files = [f for f in FILES if family(f) == name]
    assert files
    wrong = {name_of(f): extra for f in files if (extra := families(f) - MAY_IMPORT[name])}
    assert wrong == {}, "let them meet in a stage, or list the import with its reason in MAY_IMPORT"


def test_the_order_has_no_circles():
    def below(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        for other in MAY_IMPORT.get(name, set()):
            below(other, (*path, name))

    for name in MAY_IMPORT:
        below(name, ())


def test_tracking_knows_the_library_only_by_its_bundles_and_data():
    found = {
        name_of(f): families(f) - {"params", "agents", "data", "preflight"} for f in FILES if family(f) == "tracking"
    }
    assert {k: v for k, v in found.items() if v} == {}


def test_no_library_file_imports_a_stage():
    found = [name_of(f) for f in FILES if family(f) != "stages" and "stages" in families(f)]
    assert found == []


HEAVY = ["lightning", "pytorch_lightning", "dvc", "mlflow", "gymnasium", "minari", "matplotlib"]


PLAIN = ["agents", "policies", "planners", "world_models", "uncertainty", "imagination"]


@pytest.mark.parametrize("module", [f"pipeline.{name}" for name in PLAIN])
def test_models_and_learners_are_plain_torch(module: str):
    """In a fresh interpreter, because only ``sys.modules`` shows what an import really loads."""
    code = f"import sys, {module}; print(sorted(m for m in {HEAVY} if m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert loaded.strip() == "[]"


def test_no_file_guesses_at_a_protocol():
    """Contracts are declared; ``getattr`` with a default hides a member that is missing."""
    guesses = [
        f"{name_of(f)}:{node.lineno}"
        for f in FILES
        if family(f) in (CORE | {*PLAIN, "evaluation", "stages"}) - {"params"}
        for node in ast.walk(ast.parse(f.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) == 3
    ]
    assert guesses == []


def test_only_params_knows_omegaconf():
    assert [name_of(f) for f in FILES if "omegaconf" in outside(f)] == ["pipeline/params.py"]


def test_two_lightning_modules():
    found = [
        (name_of(file), node.name)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and any("LightningModule" in ast.unparse(base) for base in node.bases)
    ]
    assert found == [
        ("pipeline/training/policy.py", "PolicyTraining"),
        ("pipeline/training/world_model.py", "WorldModelTraining"),
    ]


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_files_are_short(file: Path):
    assert len(file.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_file_says_what_it_is(file: Path):
    assert ast.get_docstring(ast.parse(file.read_text()))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_public_functions_are_annotated(file: Path):
    bare = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [a for a in arguments if a.arg not in ("self", "cls")]
            if node.returns is None or any(a.annotation is None for a in named):
                bare.append(node.name)
    assert bare == []


@pytest.mark.parametrize("file", ["types.py", "interfaces.py", "imagination.py", "uncertainty/penalties.py"])
def test_classes_and_functions_of_the_contract_are_explained(file: str):
    tree = ast.parse((ROOT / "pipeline" / file).read_text())
    public = [n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and not n.name.startswith("_")]
    assert [n.name for n in public if not ast.get_docstring(n) and not n.name.endswith("Config")] == []
