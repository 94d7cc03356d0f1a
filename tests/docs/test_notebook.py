"""The notebook of docs/tutorials is the tutorial of the same name, and its cells run."""

import json
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, blocks_of

FILE = ROOT / "docs/tutorials/notebook.ipynb"
CELLS = json.loads(FILE.read_text())["cells"]


def code_of(kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == kind]


def test_it_is_the_tutorial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/hooks"))
    from notebook import TUTORIAL, notebook  # type: ignore[import-not-found]

    fix = "run `python docs/hooks/notebook.py`"
    assert FILE.read_text() == notebook(TUTORIAL.read_text()), fix
    blocks = [block.code.strip("\n") for block in blocks_of(TUTORIAL) if block.language == "python"]
    assert code_of("code") == blocks
    assert not any("](" in text for text in code_of("markdown")), "links of the page lead nowhere from the notebook"
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is set to None:UserWarning")  # Minari asks for metadata that nobody publishes
def test_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the sizes that the tutorial shows, which are those of preset `ci`."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, code in enumerate(code_of("code")):
        exec(compile(code, f"cell {number}", "exec"), names)
    assert (tmp_path / "report/index.html").stat().st_size > 10_000
    assert (tmp_path / "policy/bundle.json").exists()
