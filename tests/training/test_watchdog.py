"""The watchdog names the tensor that went wrong."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from pipeline.training.watchdog import Watchdog, check_finite, first_not_finite


class Diverging(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        if index == 2:
            with torch.no_grad():
                self.layers[1].bias.fill_(float("nan"))
        return self.layers(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_training_stops_at_the_step_and_names_the_parameter() -> None:
    trainer = pl.Trainer(
        max_epochs=1,
        callbacks=[Watchdog()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    with pytest.raises(ValueError, match=r"step 3: `loss` is not finite; first such tensor: parameter layers\.\d\."):
        trainer.fit(Diverging(), DataLoader(torch.ones(8, 2), batch_size=2))


def test_buffers_come_before_parameters_and_gradients() -> None:
    module = nn.BatchNorm1d(1)
    module.weight.grad = torch.full((1,), torch.inf)
    assert first_not_finite(module) == "gradient of weight"
    module.running_mean.fill_(torch.nan)
    assert first_not_finite(module) == "buffer running_mean"


def test_finite_values_pass_and_a_bad_batch_is_told_apart() -> None:
    module = nn.Linear(1, 1)
    check_finite({"loss": torch.tensor(1.0)}, module, step=0)
    check_finite({}, module, step=0)
    with pytest.raises(ValueError, match=r"step 7: `q` is not finite.*check the data"):
        check_finite({"loss": torch.tensor(1.0), "q": torch.tensor(torch.inf)}, module, step=7)
