"""Timing: medians of repeats. Rivals take turns, so that a temporary slowdown of the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

REPEATS = 3
Work = Callable[[], float]  # does some work and returns how much


@dataclass(frozen=True)
class Result:
    """``rate`` is the median of ``repeats``, in ``unit`` per second; ``gflops`` counts only matrix products."""

    case: str
    who: str  # ours, plain, torch, mbrl or jax
    device: str
    precision: str
    unit: str
    rate: float
    repeats: list[float]
    gflops: float | None = None
    share_of_ceiling: float | None = None  # of the machine's matmul at the same shape and precision


def wait(device: torch.device) -> None:
    """Wait for a GPU to finish, because its work is asynchronous."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates(rivals: dict[str, Work], seconds: float, device: torch.device) -> dict[str, list[float]]:
    """Work per second of each rival, ``REPEATS`` times within about ``seconds`` in all, after a warm-up."""
    for work in rivals.values():
        work()
    measured: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(REPEATS):
        for name, work in rivals.items():
            measured[name].append(_rate(work, seconds / REPEATS, device))
    return measured


def _rate(work: Work, seconds: float, device: torch.device) -> float:
    wait(device)
    done = 0.0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += work()
    wait(device)
    return done / (time.perf_counter() - start)


def compare(
    case: str,
    unit: str,
    own: dict[str, Work],
    others: dict[str, Work],
    seconds: float,
    device: torch.device,
    ceiling: float | None,
) -> list[Result]:
    """The results of one fp32 case for each work of this process (``own``) and of other ones (``others``), which all
    take turns; ``ceiling`` is in GFLOP/s. Products are counted in this process alone."""
    results = []
    for who, repeats in rates({**own, **others}, seconds, device).items():
        rate = statistics.median(repeats)
        gflops = rate * gflop_of(own[who]) if who in own else None
        share = gflops / ceiling if ceiling and gflops else None
        results.append(Result(case, who, device.type, "fp32", unit, rate, repeats, gflops, share))
    return results


def repeated(product: Callable[[], Tensor], gflop: float, count: int = 20) -> Work:
    """Work of ``count`` products of ``gflop`` each, so that reading the clock takes a negligible share of the time."""

    def work() -> float:
        for _ in range(count):
            product()
        return count * gflop

    return work


def gflop_of(work: Work) -> float:
    """Floating-point operations of the matrix products in one unit of work, in 10^9. Runs ``work`` once."""
    with FlopCounterMode(display=False) as counter:
        done = work()
    return counter.get_total_flops() / 1e9 / done


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Context with ``torch.set_float32_matmul_precision(name)``."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
