"""A guessed block of params.yaml."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LISTED = 12  # names in one line


@dataclass
class Guess:
    """A guessed block ``dataset``, and what is to be said about it."""

    block: dict[str, Any]
    unsure: dict[str, str] = field(default_factory=dict)  # key of the block -> why its value is uncertain
    undecided: list[str] = field(default_factory=list)  # what only the user knows, one sentence for each key
    columns: list[tuple[str, ...]] = field(default_factory=list)  # cells of a table: name, and what it holds
    notes: list[str] = field(default_factory=list)  # what was left out, and what looks odd


def head(path: Path, source: str) -> Guess:
    """The keys of every source; a file named ``val`` or ``test`` instead of ``train`` becomes the held-out split."""
    guess = Guess({"source": source, "name": path.stem or path.name, "path": str(path), "held_out_path": str(path)})
    for train, held_out in (("train", "val"), ("train", "valid"), ("train", "test")):
        other = path.with_name(path.name.replace(train, held_out))
        if other != path and other.exists():
            guess.block["held_out_path"] = str(other)
            guess.unsure["held_out_path"] = f"{other.name} is in the same folder; repeat `path` to split by episode"
            break
    return guess


def ask_for_reward(guess: Guess, key: str, candidates: list[str]) -> None:
    """Say what the user has to do where no name looks like a reward."""
    named = f" (candidates: {some(candidates)})" if candidates else ""
    guess.undecided.append(
        f"`{key}`{named}, or a function that gives the reward: `def reward(episode): return "
        '{"reward": ...}` in data/transforms/mine.py, with `transform: mine:reward`'
    )
    guess.unsure[key] = "no name looks like a reward"


def some(names: Iterable[str]) -> str:
    """The names in one line; of many, the first ones."""
    every = [name.strip() or "a column without a name" for name in names]
    return ", ".join(every[:LISTED]) + (f" and {len(every) - LISTED} more" if len(every) > LISTED else "")
