"""``trainer.matmul_precision: auto``: bfloat16 products where they are faster on this machine."""

import os
import time

import torch

SIZE, REPEATS = 256, 20  # of the products that are timed: the width of the usual networks
SPEEDUP = 1.3  # that reduced precision must give
CHOSEN = "PIPELINE_MATMUL_PRECISION"  # environment variable with the choice, for the ranks that a process starts


def resolve_precision(name: str, accelerator: str) -> str:
    """A name for ``torch.set_float32_matmul_precision``: ``name`` itself, or for "auto" the measured choice for the
    ``accelerator`` of Lightning."""
    if name != "auto":
        return name
    if CHOSEN not in os.environ:
        on_gpu = accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()
        os.environ[CHOSEN] = _measured(torch.device("cuda" if on_gpu else "cpu"))
    return os.environ[CHOSEN]


def _measured(device: torch.device) -> str:
    """ "medium" if its products are faster than those of "highest" by ``SPEEDUP``, else "highest"."""
    seconds = {"highest": float("inf"), "medium": float("inf")}
    before = torch.get_float32_matmul_precision()
    x = torch.ones(SIZE, SIZE, device=device)
    for _ in range(REPEATS):  # they take turns, and the shortest time counts: other processes disturb both
        for name in seconds:
            torch.set_float32_matmul_precision(name)
            started = time.perf_counter()
            product = x @ x
            float(product[0, 0])  # waits for a GPU
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    torch.set_float32_matmul_precision(before)
    ratio = seconds["highest"] / seconds["medium"]
    chosen = "medium" if ratio >= SPEEDUP else "highest"
    print(f"matmul_precision auto: {chosen}; reduced products are {ratio:.1f} times as fast here", flush=True)
    return chosen
