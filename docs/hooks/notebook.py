"""``docs/tutorials/notebook.ipynb`` from the tutorial of the same name: ``python docs/hooks/notebook.py`` writes it."""

import json
import re
from pathlib import Path
from typing import Any

TUTORIAL = Path(__file__).parents[1] / "tutorials/notebook.md"
NOTEBOOK = TUTORIAL.with_suffix(".ipynb")
CODE = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
ASIDE = re.compile(r"^<!-- page: -->\n(.*?)^<!-- end -->\n", re.DOTALL | re.MULTILINE)  # of no use in the notebook


def notebook(markdown: str) -> str:
    """A notebook of the page's text and Python blocks, as JSON of nbformat 4."""
    parts = CODE.split(ASIDE.sub("", markdown))  # text and code in turn
    cells = [_cell(i, part.strip("\n"), code=i % 2 == 1) for i, part in enumerate(parts) if part.strip()]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(index: int, source: str, code: bool) -> dict[str, Any]:
    kind: dict[str, Any] = {"cell_type": "markdown"}
    if code:
        kind = {"cell_type": "code", "execution_count": None, "outputs": []}
    return {**kind, "id": f"part-{index}", "metadata": {}, "source": source.splitlines(keepends=True)}


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(TUTORIAL.read_text()))
