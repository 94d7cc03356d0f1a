"""What README and docs/ name exists: commands, presets, stages, keys and values of params.yaml, files, links."""

import dataclasses
import importlib
import itertools
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from pages import BLOCKS, PAGES, ROOT, Block, blocks_of, short
from test_architecture import FLOORS

from pipeline.__main__ import app
from pipeline.cli.preset import PRESETS
from pipeline.stages.preflight import LISTS, Family, blocks, check_baselines, load

KINDS = blocks()
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
INLINE = re.compile(r"`((?:python -m pipeline|dvc|make) [^`]+)`")


def lines_of(page: Path) -> list[str]:
    """Commands of the page, in blocks and in the text."""
    joined = [re.sub(r"\\\n\s*", "", b.code) for b in blocks_of(page) if b.language == "sh"]
    return [line for code in joined for line in code.splitlines()] + INLINE.findall(page.read_text().replace("\n", " "))


def problem(line: str) -> str | None:
    """What a command names that does not exist."""
    parts = shlex.split(line, comments=True)
    if parts[:3] == ["python", "-m", "pipeline"]:
        return command_problem(parts[3:])
    if parts[:2] == ["dvc", "repro"]:
        return next((p for p in parts[2:] if p.split("@")[0] not in {*STAGES, "STAGE"}), None)
    if parts[:3] == ["dvc", "exp", "run"]:
        settings = [setting for flag, setting in itertools.pairwise(parts) if flag == "-S"]
        stages = [p for p in parts[3:] if not p.startswith("-") and p not in settings]
        wrong = [s for s in settings if not key_exists(s.partition("=")[0])]
        return next(iter(wrong + [p for p in stages if p.split("@")[0] not in STAGES]), None)
    if parts[:1] == ["make"]:
        return None if parts[1] in TARGETS else parts[1]
    return None


def command_problem(parts: list[str]) -> str | None:
    if not parts or parts[0] == "NAME":
        return None
    name, *rest = parts
    if name not in COMMANDS:
        return name
    options = {option for param in COMMANDS[name].params for option in param.opts}
    presets = {path.stem for path in PRESETS.glob("*.yaml")} | {"NAME"}
    wrong = [part for part in rest if part.startswith("--") and part not in options]
    return next(iter(wrong + [p for p in rest[:1] if name == "preset" and p not in presets]), None)


def key_exists(key: str) -> bool:
    block, _, name = key.partition(".")
    if block in LISTS:
        return True
    kind = KINDS.get(block)
    if kind is None:
        return False
    configs = [entry.Config for entry in kind.registry.values()] if isinstance(kind, Family) else [kind]
    configs += [kind.common] if isinstance(kind, Family) and kind.common is not None else []
    fields = {field.name for config in configs for field in dataclasses.fields(config)}
    return name in fields | ({kind.key} if isinstance(kind, Family) else set())


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_commands_exist(page: Path):
    assert {line: wrong for line in lines_of(page) if (wrong := problem(line))} == {}


def test_wrong_commands_are_noticed():
    assert problem("dvc exp run -S penalty.wait=2.0") == "penalty.wait=2.0"
    assert problem("dvc repro train") == "train"
    assert problem("python -m pipeline preset pendulun") == "pendulun"
    assert problem("python -m pipeline evaluate folder --episode 3") == "--episode"
    assert problem("make all") == "all"


DEFAULTS = {"policy": "sac", "world_model": "gaussian_ensemble"}
OWN = ("learner.md", "world-model.md")  # what they register themselves is checked by test_code.py


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "yaml" and b.page.name not in OWN], ids=lambda b: b.name
)
def test_blocks_of_params_are_valid(block: Block):
    """Keys and values as the pages show them; a draft of ``inspect`` is not complete."""
    params = yaml.safe_load(block.code)
    if "baselines" in params:
        check_baselines(params)
    for name, values in ((name, values) for name, values in params.items() if name not in LISTS):
        kind = KINDS[name]
        if block.code.startswith("# data/logs"):
            assert all(key_exists(f"{name}.{key}") for key in values)
        elif isinstance(kind, Family) and kind.key not in values:
            load(kind, {name: {kind.key: DEFAULTS[name], **values}}, name)
        else:
            load(kind, params, name)


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_files_and_modules_that_a_page_names_exist(page: Path):
    """What stages write below data/ is not looked for."""
    text = page.read_text()
    files = re.findall(r"`((?:pipeline|tests|docs|reports)/[\w./-]*\w)`", text)
    assert [f for f in files if "NAME" not in f and not (ROOT / f).exists()] == []
    names = re.findall(r"`(pipeline(?:\.\w+)+)(?::\w+-v\d+)?`", text)
    assert [name for name in names if not module_or_member(name)] == []


def module_or_member(name: str) -> bool:
    parent, _, member = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(parent), member) or bool(importlib.import_module(name))
    except ImportError:
        return False


def test_readme_is_short_and_its_links_exist():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []


def test_every_preset_is_described():
    text = (ROOT / "docs/how-to/choose.md").read_text()
    assert [path.stem for path in PRESETS.glob("[!_]*.yaml") if f"`{path.stem}`" not in text] == []


def test_every_room_is_described():
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = [room for floor in FLOORS for room in floor if not room.startswith("__")]
    assert [room for room in rooms if not re.search(rf"`pipeline/{room}(/|\.py)`", text)] == []


def test_pictures_are_where_the_site_puts_them():
    """The site has those of reports/ in the folder `pictures` at its root (docs/hooks/pages.py)."""
    for page in (ROOT / "docs").rglob("*.md"):
        to_root = "../" * (len(page.relative_to(ROOT / "docs").parts) - 1)
        for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text()):
            folder, _, name = link.rpartition("/")
            assert f"{folder}/" == f"{to_root}pictures/", f"{page}: {link}"
            assert (ROOT / "reports" / name).is_file(), f"{page}: {link}"
