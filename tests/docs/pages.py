"""The pages of README and docs/, and their fenced blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "reports/results.md",
    ROOT / "data/README.md",
    *sorted((ROOT / "data").glob("*/README.md")),  # not deeper: bundles that stages wrote have a README too
    *sorted((ROOT / "docs").rglob("*.md")),
]
# A block may have a comment in the line above, such as <!-- illustration: needs a trained policy -->
FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>\w+): [^\n]* -->\n *)?```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the first word of the comment above it."""

    page: Path
    language: str
    code: str
    mark: str | None

    @property
    def name(self) -> str:
        return short(self.page)


def short(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[Block]:
    blocks = []
    for match in FENCE.finditer(page.read_text()):
        lines = [line.removeprefix(match["indent"]) for line in match["code"].splitlines()]
        blocks.append(Block(page, match["language"], "\n".join(lines) + "\n", match["mark"]))
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
