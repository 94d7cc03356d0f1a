"""What a training prints of its progress."""

import re

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader

from pipeline.training import progress
from pipeline.training.config import TrainerConfig
from pipeline.training.progress import Progress
from pipeline.training.trainer import chunk_loader, make_trainer


class Counting(LightningModule):
    """Five batches an epoch, of which it learns nothing."""

    def __init__(self, epochs_done: int = 0, stop_after: int | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.layer = nn.Linear(1, 1)
        self.epochs_done, self.stop_after = epochs_done, stop_after

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[int]:
        return chunk_loader(5)

    def training_step(self, chunk: int, batch_idx: int) -> None:
        self.log("held_out_nll", 1.5, prog_bar=True, logger=False)

    def on_train_epoch_end(self) -> None:
        self.epochs_done += 1
        self.trainer.should_stop = self.epochs_done == self.stop_after


def fit(module: Counting, epochs: int, terminal: bool = False) -> None:
    shown = Progress()
    shown._terminal = terminal
    make_trainer(TrainerConfig(accelerator="cpu", threads=1), epochs, [shown]).fit(module)


@pytest.fixture(autouse=True)
def every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "REDRAW_SECONDS", 0.0)


def test_a_pipe_gets_lines_with_speed_and_epochs_from_one(capsys: pytest.CaptureFixture[str]) -> None:
    fit(Counting(), 4)  # 20 batches
    lines = [line for line in capsys.readouterr().out.splitlines() if "epoch" in line]
    assert len(lines) == 21
    assert re.fullmatch(r"epoch 1 of 4, 5%, \d+\.\d\d s an epoch, \d:\d\d:\d\d left, held out nll 1.5", lines[0])
    assert lines[-2].startswith("epoch 4 of 4, 100%")
    assert lines[-1].startswith("trained 4 of 4 epochs in ")
    assert "v_num" not in "".join(lines)


def test_a_short_training_prints_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 60.0)
    fit(Counting(), 4)
    assert capsys.readouterr().out.count("epoch") == 1


def test_a_terminal_gets_one_line_that_is_drawn_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    fit(Counting(), 4, terminal=True)
    (line,) = [line for line in capsys.readouterr().out.split("\n") if "epoch" in line]
    drawn = line.split("\r")
    assert "━" in drawn[-2]
    assert drawn[-1].startswith("trained 4 of 4 epochs")
    assert {len(one) for one in drawn[1:]} == {59}  # each covers the one before, and none wraps


def test_a_resumed_training_counts_from_its_first_run(capsys: pytest.CaptureFixture[str]) -> None:
    fit(Counting(epochs_done=6), 2)
    lines = [line for line in capsys.readouterr().out.splitlines() if "epoch" in line]
    assert lines[0].startswith("epoch 7 of 8, 10%")
    assert lines[-1].startswith("trained 8 of 8 epochs")


def test_a_training_that_stops_early_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    fit(Counting(stop_after=3), 25)
    assert "trained 3 of 25 epochs" in capsys.readouterr().out
