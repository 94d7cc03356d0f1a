"""Colored noise for sampling plans."""

import torch
from torch import Generator, Tensor


def colored(shape: tuple[int, int, int], color: float, generator: Generator) -> Tensor:
    """Noise "N T A" of variance 1 whose power over the steps of a plan is proportional to frequency ** -``color``: 0
    is white, 1 pink, 2 red (Timmer & Koenig 1995; for planning, iCEM, Pinneri et al. 2020, arXiv:2008.06389).

    With colored noise actions keep their sign for longer, so plans explore further than with white noise, which
    averages out.
    """
    plans, steps, actions = shape
    frequency = torch.fft.rfftfreq(steps, device=generator.device).clamp(min=1 / steps)
    scale = frequency ** (-color / 2)
    noise = torch.randn(2, plans, actions, len(scale), generator=generator, device=generator.device)
    real, imaginary = noise * scale
    # The zero frequency, and the highest one for an even number of steps, are real in the transform of a real signal.
    is_real = torch.zeros(len(scale), dtype=torch.bool, device=generator.device)
    is_real[0] = True
    if steps % 2 == 0:
        is_real[-1] = True
    real = torch.where(is_real, 2**0.5 * real, real)
    imaginary = imaginary.masked_fill(is_real, 0.0)
    std = (torch.where(is_real, 2.0, 4.0) * scale.square()).sum().sqrt() / steps
    return torch.fft.irfft(torch.complex(real, imaginary), n=steps).transpose(1, 2) / std
