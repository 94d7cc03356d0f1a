"""The chart of the stages is that of dvc.yaml."""

import re
from itertools import pairwise

import yaml
from pages import BLOCKS, ROOT, short

Edges = set[tuple[str, str]]


def drawn() -> Edges:
    (block,) = [block for block in BLOCKS if block.language == "mermaid"]
    assert short(block.page) == "README.md"
    chains = [re.findall(r"\w+", line) for line in block.code.splitlines() if "-->" in line]
    return {edge for chain in chains for edge in pairwise(chain)}


def defined() -> Edges:
    """The edges between stages, each for all seeds."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    outs = {
        name: {next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]}
        for name, stage in stages.items()
    }
    return {
        (a, b)
        for a in stages
        for b in stages
        if any(f"{out}/".startswith(f"{dep.split('/seed-')[0]}/") for out in outs[a] for dep in stages[b]["deps"])
    }


def following(edges: Edges, start: str) -> set[str]:
    """All stages after ``start``."""
    after = {b for a, b in edges if a == start}
    return after.union(*(following(edges, stage) for stage in after))


def test_chart_has_the_edges_of_dvc_yaml_that_do_not_follow_from_others() -> None:
    edges = defined()
    direct = {(a, b) for a, b in edges if not any(b in following(edges, c) for x, c in edges if x == a)}
    assert drawn() == direct
