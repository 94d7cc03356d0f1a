"""The noise that plans are drawn with."""

import torch
from torch import Generator, Tensor


def colored(shape: tuple[int, int, int], color: float, generator: Generator) -> Tensor:
    """Noise "N T A" of variance 1, whose power falls with the frequency over a plan's steps to the power ``color``: 0
    is white, 1 pink, 2 red (Timmer & Koenig 1995; for planning, iCEM, Pinneri et al. 2020, arXiv:2008.06389).

    Actions then keep their sign for longer: white noise averages out before it gets anywhere.
    """
    plans, steps, actions = shape
    frequency = torch.fft.rfftfreq(steps, device=generator.device).clamp(min=1 / steps)
    scale = frequency ** (-color / 2)
    drawn = torch.randn(2, plans, actions, len(scale), generator=generator, device=generator.device)
    real, imaginary = drawn * scale
    # The mean, and the fastest wave of an even number of steps, have no phase: only their real part counts.
    alone = torch.zeros(len(scale), dtype=torch.bool, device=generator.device)
    alone[0] = True
    if steps % 2 == 0:
        alone[-1] = True
    real, imaginary = torch.where(alone, 2**0.5 * real, real), imaginary.masked_fill(alone, 0.0)
    std = (torch.where(alone, 2.0, 4.0) * scale.square()).sum().sqrt() / steps
    return torch.fft.irfft(torch.complex(real, imaginary), n=steps).transpose(1, 2) / std
