"""One rank of a small world-model training. `python ddp_worker.py NAME DEVICES FOLDER [endless]`; Lightning
starts it once more for every further rank. Each rank leaves a mark at its first step and, at the end, what it arrived
at."""

import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from toys import linear_world, rssm_training, small_ensemble, training_of, transitions_of

from pipeline.training.trainer import TrainerConfig, make_trainer, set_up_torch
from pipeline.training.world_model import FitConfig, WorldModelTraining

EPOCHS = 2


class Recorder(Callback):
    """Keeps the gradients of the very first global batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gradients: dict[str, torch.Tensor] = {}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        (self.folder / f"training-{trainer.global_rank}").touch()

    def on_after_backward(self, trainer: Any, module: WorldModelTraining) -> None:
        if not self.gradients:
            parameters = module.model.named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in parameters if p.grad is not None}


def build(name: str, epochs: int) -> WorldModelTraining:
    """Held-out rows or windows are odd in number, so the ranks' shares are not equal."""
    if name == "rssm":
        fit = FitConfig(batch_size=64, window=8, max_epochs=epochs, patience=epochs, held_out_rows=8 * 29)
        return rssm_training(80, fit)
    raw, unseen = linear_world(3200), linear_world(1601, seed=1)
    model = small_ensemble(raw, width=16)
    data = [transitions_of(x, model.encoder) for x in (raw, unseen)]
    return training_of(model, *data, FitConfig(batch_size=64, max_epochs=epochs, patience=epochs))


def main(name: str, devices: int, folder: Path, endless: bool) -> None:
    config = TrainerConfig(accelerator="cpu", devices=devices, threads=1)
    set_up_torch(config)
    epochs = 100_000 if endless else EPOCHS
    training, recorder = build(name, epochs), Recorder(folder)
    model = training.model
    make_trainer(config, epochs, [recorder], progress=False).fit(training)
    last = {k: p.detach().clone() for k, p in model.state_dict().items()}
    training.finish()
    arrived = {
        "gradients": recorder.gradients,
        "last": last,
        "best": {k: p.clone() for k, p in model.state_dict().items()},
        "best_scores": training.best.scores[training.best.decisive],
        "elites": training.summary()["elites"],
        "history": training.history,
        "threads": torch.get_num_threads(),
    }
    torch.save(arrived, folder / f"rank-{training.global_rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), endless=sys.argv[4:] == ["endless"])
