"""Weights on disk as safetensors: nothing is unpickled, and damaged or senseless ones are refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pipeline.validation import one_line
from pipeline.validation.stored import sha256

LARGEST_WEIGHT = 1e15  # the product of two, summed over a layer, is finite as float32


class Weighted(Protocol):
    """What is used of a ``torch.nn.Module``."""

    def state_dict(self) -> dict[str, Any]:
        """Parameters and persistent buffers by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Copy them. Raises RuntimeError when names or shapes differ."""


def write_weights(tensors: Mapping[str, Tensor], file: Path) -> str:
    """Write ``tensors`` and return the SHA-256 of the file. Raises ValueError for weights that reading would refuse."""
    for name, tensor in tensors.items():
        if reason := _out_of_range(tensor):
            raise ValueError(f"{file}: weight `{name}` {reason}; the training diverged: lower its learning rate")
    raw = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    file.write_bytes(raw)
    return sha256(raw)


def read_weights(file: Path, digest: str | None, again: str) -> dict[str, Tensor]:
    """The tensors in ``file``. ``digest`` is its SHA-256; None, of an older version, is not compared.

    Raises ValueError that ends with ``again``: missing, another digest, no safetensors, not finite, too large.
    """
    if not file.is_file():
        raise ValueError(f"{file}: not found; {again}")
    raw = file.read_bytes()
    if digest is not None and sha256(raw) != digest:
        raise ValueError(f"{file}: damaged, as its SHA-256 shows; delete it and {again}")
    try:
        weights = load(raw)
    except SafetensorError as error:
        raise ValueError(f"{file}: not a safetensors file ({one_line(str(error))}); delete it and {again}") from None
    for name, tensor in weights.items():
        if reason := _out_of_range(tensor):
            raise ValueError(f"{file}: weight `{name}` {reason}; delete it and {again}")
    return weights


def _out_of_range(tensor: Tensor) -> str | None:
    """What is wrong with the values of a weight, or None."""
    largest = tensor.detach().float().abs().amax() if tensor.numel() else torch.zeros(())
    if not torch.isfinite(largest):
        return "holds values that are not finite"
    return f"holds values beyond {LARGEST_WEIGHT:.0e}" if largest > LARGEST_WEIGHT else None


def load_weights(module: Weighted, weights: Mapping[str, Tensor]) -> None:
    """Copy ``weights`` into ``module``. Raises ValueError for another type of numbers, and what torch raises for other
    names and shapes."""
    for name, own in module.state_dict().items():
        if name in weights and weights[name].dtype != own.dtype:
            raise ValueError(f"weight `{name}` is of type {weights[name].dtype}, expected {own.dtype}")
    module.load_state_dict(dict(weights))
