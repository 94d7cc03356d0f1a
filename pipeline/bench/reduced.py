"""Reduced precision: speed, and the held-out error after the same number of steps from the same seed."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.bench.cases import descend
from pipeline.bench.timing import REPEATS, matmul_precision, wait
from pipeline.bench.world import World

PRECISIONS = ("fp32", "medium", "bf16")  # full, float32_matmul_precision "medium", bfloat16 autocast


def precisions(world: World) -> list[dict[str, Any]]:
    """Train the ensemble in each of ``PRECISIONS``; errors are means over members, in normalized units."""
    return [_train(world, name) for name in PRECISIONS]


def _train(world: World, name: str) -> dict[str, Any]:
    model = world.ensemble()
    count = max(1, world.config.precision_steps // REPEATS)
    rows = iter(world.rows(count * REPEATS))

    def loss() -> Tensor:
        # Entered at every step, because autocast caches reduced copies of the weights until it exits.
        with torch.autocast(world.device.type, torch.bfloat16, enabled=name == "bf16"):
            return model.loss(world.train[next(rows)])[0]

    with matmul_precision("medium" if name == "medium" else "highest"):
        step = descend(loss, model.optimizer())
        repeats = [_rate(step, count, world.device) for _ in range(REPEATS)]
        with torch.autocast(world.device.type, torch.bfloat16, enabled=name == "bf16"):
            sums = model.held_out(world.held_out)
    return {
        "precision": name,
        "device": world.device.type,
        "steps": count * REPEATS,
        "steps_per_second": statistics.median(repeats),
        "repeats": repeats,
        "held_out_mse": float((sums["mse"] / sums["count"]).mean()),
        "held_out_nll": float((sums["nll"] / sums["count"]).mean()),
    }


def _rate(step: Callable[[], float], count: int, device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    for _ in range(count):
        step()
    wait(device)
    return count / (time.perf_counter() - start)
