"""Random generators. All draws of the project use one made here, so a resumed run repeats an uninterrupted one."""

import hashlib

import torch


def seed_of(seed: int, *place: str | int) -> int:
    """A 63-bit seed for one place in the program, such as ``seed_of(0, "world_model", "batch", step)``. Different
    places have independent seeds."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *place: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A new torch generator for one place on ``device``. Include the rank in ``place`` only where ranks must differ."""
    return torch.Generator(device=device).manual_seed(seed_of(seed, *place))
