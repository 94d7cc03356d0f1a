"""MkDocs hook: pages that are made from the code, so that they cannot disagree with it.

A page below docs/ says where such a part goes by a line ``<!-- generated: NAME -->``; ``PARTS`` makes it. Files from
outside docs/ become pages of the site as they are (``TAKEN``).
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import drawings  # noqa: E402  beside this file, on the path while MkDocs loads it
from commands import command_reference  # noqa: E402
from parameters import parameter_reference  # noqa: E402

PARTS: dict[str, Callable[[], str]] = {
    "parameters": parameter_reference,
    "commands": command_reference,
    "data-flow": drawings.data_flow,
    "rooms": drawings.rooms,
}
# Files of the project -> pages of the site.
TAKEN = {"reports/results.md": "results.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# Blocks that only the tests need, the same as the command above them, and charts that GitHub alone draws.
HIDDEN = re.compile(r"^(<!-- run: .*? -->\n```python|```mermaid)\n.*?^```\n", re.DOTALL | re.MULTILINE)
MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live outside docs/, and the pictures of reports/."""
    for source, page in TAKEN.items():
        files.append(File.generated(config, page, content=moved((ROOT / source).read_text(), source)))
    for picture in sorted((ROOT / "reports").glob("*.png")):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the generated parts, and leave out what only the tests or GitHub need."""
    return MARK.sub(lambda mark: PARTS[mark[1]](), HIDDEN.sub("", markdown))


def moved(text: str, source: str) -> str:
    """``text`` of a file outside docs/ with its links as the site has them."""
    text = text.replace("](../docs/", "](").replace("](docs/", "](")
    for other, page in TAKEN.items():
        text = text.replace(f"]({other})", f"]({page})").replace(f"]({other}#", f"]({page}#")
    return re.sub(r"\]\(([\w-]+\.png)\)", r"](pictures/\1)", text) if source.startswith("reports/") else text
