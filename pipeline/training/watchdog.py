"""Stops training at the first value that is not finite and names the tensor that holds it."""

from collections.abc import Iterator, Mapping

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn


class Watchdog(Callback):
    """Checks the losses and metrics of every ``every``-th batch, and the tensors only if one of those is not finite."""

    def __init__(self, every: int = 1) -> None:
        self.every = every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: object, batch_idx: int
    ) -> None:
        """Raises ValueError if a value is not finite (:func:`check_finite`)."""
        if (batch_idx + 1) % self.every == 0:
            check_finite({**_losses(outputs), **trainer.callback_metrics}, pl_module, trainer.global_step)


def check_finite(scalars: Mapping[str, Tensor], module: nn.Module, step: int) -> None:
    """Raises ValueError if a scalar is not finite. The message names the metric, the step and the first tensor of
    ``module`` that is not finite."""
    if not scalars:
        return
    values = torch.stack([torch.as_tensor(v).detach().float().reshape(()) for v in scalars.values()])
    if bool(values.isfinite().all()):
        return
    metric = list(scalars)[int((~values.isfinite()).nonzero()[0])]
    where = first_not_finite(module) or "none in the model, so check the data"
    raise ValueError(f"step {step}: `{metric}` is not finite; first such tensor: {where}; lower the learning rate")


def first_not_finite(module: nn.Module) -> str | None:
    """The first buffer, parameter or gradient, in this order, that contains NaN or infinity; None if all are finite."""
    return next((name for name, tensor in _tensors(module) if not bool(tensor.isfinite().all())), None)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from ((f"buffer {name}", t) for name, t in module.named_buffers())
    yield from ((f"parameter {name}", p.detach()) for name, p in module.named_parameters())
    yield from ((f"gradient of {n}", p.grad) for n, p in module.named_parameters() if p.grad is not None)


def _losses(outputs: STEP_OUTPUT) -> dict[str, Tensor]:
    if isinstance(outputs, Tensor):
        return {"loss": outputs}
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
    return {} if loss is None else {"loss": loss}
