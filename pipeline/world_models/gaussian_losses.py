"""Terms of the losses of Gaussian world models."""

import torch
from torch import Tensor


def weighted(nll: Tensor, log_variance: Tensor, beta: float) -> Tensor:
    """The beta-NLL (Seitzer et al. 2022, arXiv:2203.09168): each term of a Gaussian likelihood times its variance to
    the power ``beta``, without a gradient through the variance. Low-variance outputs otherwise dominate the loss.
    Shapes are equal."""
    return nll if beta == 0 else nll * torch.exp(beta * log_variance.detach())


def row_weights(measured: Tensor | None) -> Tensor | float:
    """Weights of the errors "... B D" of a batch: a mean over rows is then the mean over ``measured`` rows, and an
    output that is seldom measured counts as much as the others. 1 for None."""
    return 1.0 if measured is None else measured / measured.mean(-2, keepdim=True).clamp(min=1 / measured.shape[-2])


def mixture(mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance "1 B D" of the equal mixture of members "M B D", by the law of total variance."""
    variance = log_variance.exp().mean(0, keepdim=True) + mean.var(0, correction=0, keepdim=True)
    return mean.mean(0, keepdim=True), variance.log()
