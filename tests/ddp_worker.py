"""One rank of a small world-model training: `python ddp_worker.py NAME DEVICES FOLDER [endless]`.

Lightning starts the script again for every further rank. Each rank writes an empty file at its first step and its
results at the end.
"""

import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from toys import linear_world, rssm_training, small_ensemble, training_of, transitions_of

from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.trainer import make_trainer, set_up_torch
from pipeline.training.world_model import WorldModelTraining

EPOCHS = 2


class Recorder(Callback):
    """Keeps the gradients of the first global batch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gradients: dict[str, torch.Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: object, batch_idx: int) -> None:
        """Write the file that shows that training has begun."""
        (self.folder / f"training-{trainer.global_rank}").touch()

    def on_after_backward(self, trainer: Trainer, module: WorldModelTraining) -> None:
        """Copy the gradients, once."""
        if not self.gradients:
            parameters = module.model.named_parameters()
            self.gradients = {name: p.grad.clone() for name, p in parameters if p.grad is not None}


def build(name: str, epochs: int) -> WorldModelTraining:
    """A training whose number of held-out rows or windows is odd, so that the ranks' shares differ."""
    if name == "rssm":
        fit = FitConfig(batch_size=64, window=8, max_epochs=epochs, patience=epochs, held_out_rows=8 * 29)
        return rssm_training(80, fit)
    train, held_out = linear_world(3200), linear_world(1601, seed=1)
    model = small_ensemble(train, width=16)
    data = [transitions_of(raw, model.encoder) for raw in (train, held_out)]
    return training_of(model, *data, FitConfig(batch_size=64, max_epochs=epochs, patience=epochs))


def main(name: str, devices: int, folder: Path, endless: bool) -> None:
    """Train, then write the rank's results to ``folder``."""
    config = TrainerConfig(accelerator="cpu", devices=devices, threads=1)
    set_up_torch(config)
    epochs = 100_000 if endless else EPOCHS
    training = build(name, epochs)
    recorder = Recorder(folder)
    model = training.model
    make_trainer(config, epochs, [recorder]).fit(training)
    last = {k: p.detach().clone() for k, p in model.state_dict().items()}
    training.finish()
    results = {
        "gradients": recorder.gradients,
        "last": last,
        "best": {k: p.clone() for k, p in model.state_dict().items()},
        "best_scores": training.best.scores[training.best.decisive],
        "elites": training.summary()["elites"],
        "history": training.history,
        "threads": torch.get_num_threads(),
    }
    torch.save(results, folder / f"rank-{training.global_rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), endless=sys.argv[4:] == ["endless"])
