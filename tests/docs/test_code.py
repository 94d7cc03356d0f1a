"""Python code of README and docs/ runs, and prints what stands below it."""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import missing
from pages import BLOCKS, ROOT, Block, blocks_of, short
from toys import linear_world, logged_in, training_of, world_model

from pipeline.policies import LEARNERS, POLICIES
from pipeline.policies.protocols import PolicyLearner
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.trainer import make_trainer
from pipeline.uncertainty.penalties import MEASURES
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.protocols import TrainableWorldModel

NOTEBOOK = ROOT / "docs/tutorials/notebook.md"
# tests/docs/test_notebook.py runs that of notebook.md
CODE = sorted({b.page for b in BLOCKS if b.language == "python" and b.mark != "illustration"} - {NOTEBOOK})
ILLUSTRATIONS = 5  # Python blocks that need a trained policy or the reader's own file; keep them few


@pytest.fixture
def registries() -> Iterator[None]:
    """Takes back what tutorials register."""
    before = [(registry, dict(registry)) for registry in (LEARNERS, MEASURES, POLICIES, WORLD_MODELS)]
    yield
    for registry, entries in before:
        registry.clear()
        registry.update(entries)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*is set to None:UserWarning")  # Minari asks for metadata that nobody publishes
@pytest.mark.parametrize("page", CODE, ids=short)
def test_python_code_runs_and_prints_what_stands_below_it(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: None
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/logs").mkdir(parents=True)
    names: dict[str, Any] = {"__name__": "docs"}
    blocks = [b for b in blocks_of(page) if b.mark != "illustration"]
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block.language != "python":
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block.code, block.name, "exec"), names)
        if following is not None and following.language == "text" and printed.getvalue():
            assert words(following.code) == words(printed.getvalue())
    if page.name in OUTCOMES:
        OUTCOMES[page.name](names, blocks)


def words(text: str) -> str:
    """``text`` without its numbers, which differ a little from machine to machine."""
    return re.sub(r"-?\d+(\.\d+)?", "#", text).strip()


def check_learner(names: dict[str, Any], blocks: list[Block]) -> None:
    learner = names["WeightedCloning"](names["WeightedCloningConfig"](hidden=[8]), names["task"])
    assert missing(learner, PolicyLearner) == []


def check_world_model(names: dict[str, Any], blocks: list[Block]) -> None:
    """The model keeps its contract, and the training shell fits it."""
    assert missing(names["model"], TrainableWorldModel) == []
    raw = linear_world(600)
    model = world_model("multi_head", raw)
    logged = logged_in(model, raw)
    training = training_of(model, logged, logged, FitConfig(max_epochs=2))
    with torch.no_grad():
        before = sum(model.held_out(logged)["mse"]) / len(logged)
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), 2, []).fit(training)
    with torch.no_grad():
        after = sum(training.finish().held_out(logged)["mse"]) / len(logged)
    assert after < before


def check_inspect(names: dict[str, Any], blocks: list[Block]) -> None:
    """``inspect`` prints what the tutorial shows, for the log that the tutorial wrote."""
    displayed = next(b.code for b in blocks if b.code.startswith("# data/logs"))
    log = displayed.splitlines()[0].removeprefix("# ")
    command = [sys.executable, "-m", "pipeline", "inspect", log]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert words(printed).split() == words(displayed).split()


OUTCOMES = {
    "csv.md": check_inspect,
    "learner.md": check_learner,
    "minari.md": check_inspect,
    "world-model.md": check_world_model,
}


def test_few_python_blocks_are_illustrations():
    marked = [b for b in BLOCKS if b.language == "python" and b.mark == "illustration"]
    assert 0 < len(marked) <= ILLUSTRATIONS
    for block in marked:
        compile(block.code, block.name, "exec")
