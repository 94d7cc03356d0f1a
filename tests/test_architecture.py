"""The house rules that imports and syntax can show."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from closure import ROOT, imports

FILES = sorted((ROOT / "pipeline").rglob("*.py"))
# Reading order. A room imports lower floors alone, those before it; rooms of one floor do not import each other.
FLOORS = [
    {"validation"},
    {"types", "params", "seeding", "envs"},
    {"protocols", "encoders"},
    {"imagination", "networks"},
    {"data", "world_models", "uncertainty", "policies"},
    {"ingest", "training"},
    {"serving", "assessment"},
    {"evaluation", "ope", "tracking"},
    {"reporting"},
    {"stages", "api"},
    {"bench", "cli"},
    {"__main__", "__init__"},
]
# What each room may import of the project, beside itself. What is not listed here meets in `stages` alone. `validation`
# has the types of options and of records, for all rooms that have some.
MAY_IMPORT = {
    "validation": set(),
    "types": set(),
    "params": {"validation"},
    "seeding": set(),
    "envs": set(),
    "protocols": {"types"},
    "encoders": {"types", "validation"},
    "imagination": {"protocols", "types", "validation"},
    "networks": {"envs"},  # the kinds of actions: an actor for each
    # batches are drawn, and know what encodes an observation
    "data": {"encoders", "envs", "protocols", "seeding", "types", "validation"},
    "world_models": {"encoders", "networks", "protocols", "seeding", "types", "validation"},
    # imagination says what params.yaml may leave to the assessment
    "uncertainty": {"imagination", "protocols", "types", "validation"},
    # learners imagine, but never learn which model or penalty they imagine with
    "policies": {"encoders", "imagination", "networks", "protocols", "seeding", "types", "validation"},
    # sources ask the environment that made the logs; what they give is the dataset's
    "ingest": {"data", "envs", "params", "validation"},
    # each training from a prepared dataset to a fitted model or a learned policy
    "training": {"data", "encoders", "envs", "imagination", "networks", "policies", "protocols", "seeding", "types",
                 "uncertainty", "validation", "world_models"},
    # a bundle is read by way of the registries of what acts and of world models, which encode and imagine for them
    "serving": {"data", "encoders", "envs", "imagination", "params", "policies", "protocols", "types",
                "uncertainty", "validation", "world_models"},
    "assessment": {"data", "encoders", "imagination", "protocols", "seeding", "types", "uncertainty", "validation",
                   "world_models"},
    # evaluation compares agents with logs and with what was imagined
    "evaluation": {"assessment", "data", "envs", "imagination", "policies", "protocols", "seeding", "serving", "types",
                   "uncertainty", "world_models", "validation"},
    # judging a policy offline learns critics of the policies' own kind
    "ope": {"data", "envs", "imagination", "networks", "policies", "protocols", "seeding", "serving", "types",
            "uncertainty", "world_models", "validation"},
    # the name of a run says whether its learner asked a penalty
    "tracking": {"policies"},
    # the report reads the results that these rooms define
    "reporting": {"assessment", "data", "envs", "evaluation", "ingest", "ope", "policies", "tracking", "validation",
                  "uncertainty", "world_models"},
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
def test_rooms_import_only_what_is_listed(name: str):
    files = [f for f in FILES if family(f) == name]
    assert files
    wrong = {name_of(f): extra for f in files if (extra := families(f) - MAY_IMPORT[name])}
    assert wrong == {}, "let them meet in a stage, or list the import with its reason in MAY_IMPORT"


def test_rooms_import_lower_floors_alone():
    floor = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
    assert set(floor) == {family(f) for f in FILES}
    upward = [(name_of(f), room) for f in FILES for room in families(f) if floor[room] >= floor[family(f)]]
    assert upward == [], "move what is shared to a lower floor"


def test_no_room_imports_a_stage():
    above = {"stages", "api", "cli", "bench", "__main__"}
    assert [name_of(f) for f in FILES if family(f) not in above and families(f) & above] == []


DECLARED = {"types", "protocols", "seeding", "imagination", "networks", "encoders", "world_models", "uncertainty",
            "policies", "training", "serving", "assessment", "evaluation", "ope", "stages"}  # fmt: skip
HEAVY = ["lightning", "pytorch_lightning", "dvc", "mlflow", "gymnasium", "minari", "matplotlib"]
PLAIN = ["serving.agent", "policies", "policies.planning", "world_models", "uncertainty", "imagination"]


@pytest.mark.parametrize("module", [f"pipeline.{name}" for name in PLAIN])
def test_models_and_learners_are_plain_torch(module: str):
    """In a fresh interpreter, because only ``sys.modules`` shows what an import really loads."""
    code = f"import sys, {module}; print(sorted(m for m in {HEAVY} if m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert loaded.strip() == "[]"


SLOW = ["lightning", "dvc", "mlflow", "minari", "matplotlib", "scipy.stats", "sklearn"]
STAGES = sorted(path.stem for path in (ROOT / "pipeline/stages").glob("*.py") if "def main(" in path.read_text())


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_checked_before_slow_imports(stage: str):
    """A mistake in params.yaml is reported within two seconds; each of these takes about as long to import."""
    check = "preflight.check(read_params())"
    code = f"import sys, pipeline.stages.{stage}; from pipeline.stages import preflight; from pipeline.params import "
    code += f"read_params; {check}; print(sorted(m for m in {SLOW} if m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert loaded.strip() == "[]"


def test_no_file_guesses_at_a_protocol():
    """Contracts are declared; ``getattr`` with a default hides a member that is missing."""
    guesses = [
        f"{name_of(f)}:{node.lineno}"
        for f in FILES
        if family(f) in DECLARED and f.name != "stage.py"  # which asks errors of any kind
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


def public(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """The public classes, functions and methods of a module's body; not what stands within functions, and no types of
    an overloaded one."""
    for node in body:
        overload = isinstance(node, ast.FunctionDef) and "overload" in map(ast.unparse, node.decorator_list)
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_") and not overload:
            yield node
            yield from public(node.body) if isinstance(node, ast.ClassDef) else ()


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_public_name_has_a_docstring(file: Path):
    nodes = public(ast.parse(file.read_text()).body)
    assert [f"{node.name}:{node.lineno}" for node in nodes if not ast.get_docstring(node)] == []


def test_parameters_have_types():
    """``Any`` as a parameter's whole type says nothing; it stays for what comes from outside, such as a parsed tree."""
    functions = [n for f in FILES for n in ast.walk(ast.parse(f.read_text())) if isinstance(n, ast.FunctionDef)]
    arguments = [a for n in functions for a in [*n.args.posonlyargs, *n.args.args, *n.args.kwonlyargs]]
    typed = [a.annotation for a in arguments if a.annotation is not None]
    assert len(typed) > 1000
    assert sum(ast.unparse(annotation) == "Any" for annotation in typed) < 0.01 * len(typed)


def test_few_files_stand_outside_of_the_rooms():
    loose = {f.name for f in (ROOT / "pipeline").glob("*.py")} - {"__init__.py", "__main__.py"}
    assert loose == {"api.py", "imagination.py", "params.py", "protocols.py", "seeding.py", "types.py"}
