"""The page of a leaderboard, with its figure."""

import base64
import json
from dataclasses import asdict
from pathlib import Path

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.reporting.figures.leaderboard import leaderboard_figure
from pipeline.reporting.figures.style import RC, save
from pipeline.reporting.leaderboard import Leaderboard


def write_leaderboard(board: Leaderboard, folder: Path) -> list[Path]:
    """The leaderboard as a page, a figure and JSON in ``folder``. Equal results give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    page, picture, numbers = (folder / name for name in ("index.html", "leaderboard.png", "leaderboard.json"))
    numbers.write_text(json.dumps(asdict(board), indent=2) + "\n")
    with matplotlib.rc_context(RC):
        figure = leaderboard_figure(board)
        if figure is not None:
            save(figure, picture)
    encoded = base64.b64encode(picture.read_bytes()).decode() if figure is not None else None
    templates = Environment(
        loader=PackageLoader("pipeline.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page.write_text(templates.get_template("leaderboard.html.j2").render(board=board, picture=encoded))
    return [page, *([picture] if figure is not None else []), numbers]
