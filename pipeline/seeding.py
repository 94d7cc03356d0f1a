"""Every draw in the project comes from a generator made here, so a resumed run draws what the unbroken run drew."""

import hashlib

import torch


def seed_of(seed: int, *place: str | int) -> int:
    """A 63-bit seed for one place in the program, such as ``seed_of(0, "world_model", "batch", step)``."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *place: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh torch generator for one place; add the rank to ``place`` only where ranks must differ."""
    return torch.Generator(device=device).manual_seed(seed_of(seed, *place))
