"""The two pictures of the architecture page, as SVG in the colors of the theme."""

import ast
from html import escape
from pathlib import Path

TEST = Path(__file__).parents[2] / "tests/test_architecture.py"
WIDTH, ROW = 900, 30
LETTER = 7.9  # width of a letter of the drawings' monospaced type


def _box(x: float, y: float, text: str, kind: str = "", width: float | None = None) -> str:
    width = width or LETTER * len(text) + 20
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{ROW}" rx="4"/>'
        f'<text x="{x + width / 2}" y="{y + 19}" text-anchor="middle">{escape(text)}</text>'
    )


def _note(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="note" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _arrow(*points: tuple[float, float]) -> str:
    """A line through the points, with a head at its end."""
    line = "M" + " L".join(f"{x} {y}" for x, y in points)
    (x0, y0), (x, y) = points[-2:]
    right, down = (x > x0) - (x < x0), (y > y0) - (y < y0)
    a, b = (x - 7 * right - 4 * down, y - 7 * down - 4 * right), (x - 7 * right + 4 * down, y - 7 * down + 4 * right)
    head = f'<path class="head" d="M{x} {y} L{a[0]} {a[1]} L{b[0]} {b[1]} Z"/>'
    return f'<path d="{line}"/>{head}'


def _svg(height: float, title: str, parts: list[str]) -> str:
    drawing = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return f'<div class="diagram">{drawing}<title>{escape(title)}</title>{"".join(parts)}</svg></div>'


def floors() -> list[list[str]]:
    """The rooms of each floor, lowest first, as tests/test_architecture.py declares them."""
    for node in ast.parse(TEST.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS":
            return [sorted(rooms) for rooms in ast.literal_eval(node.value)]
    raise ValueError(f"{TEST}: no FLOORS; name the list of floors FLOORS")


def rooms() -> str:
    """A floor a row, the highest at the top; imports go down."""
    stories = [[room for room in story if not room.startswith("__")] for story in floors()]
    stories = [story for story in stories if story]
    parts, gap = [], 14
    for row, story in enumerate(reversed(stories)):
        y, x = row * (ROW + gap) + 24.0, 60.0
        parts.append(_note(8, y + 19, f"{len(stories) - row}"))
        for room in story:
            parts.append(_box(x, y, room, "step" if room in ("stages", "cli", "bench") else ""))
            x += LETTER * len(room) + 34
    height = len(stories) * (ROW + gap) + 30
    parts.append(_arrow((WIDTH - 30, 24), (WIDTH - 30, height - 20)))
    parts.append(_note(WIDTH - 42, 40, "imports", "end"))
    return _svg(height, "Rooms of the code by floor", parts)


def data_flow() -> str:
    """Stages in colored frames, what they write in gray ones."""
    left, middle, right = 20, 300, 590
    parts = [
        _box(left, 20, "logs", width=200),
        _box(left, 90, "ingest", "step", 200),
        _box(left, 160, "data/dataset", width=200),
        _box(middle, 160, "fit_world_model", "step", 220),
        _box(right, 160, "data/world_model/seed-K", width=250),
        _box(right, 230, "assess_world_model", "step", 250),
        _box(right, 300, "data/calibration/seed-K", width=250),
        _box(middle, 300, "learn_policy", "step", 220),
        _box(left, 300, "baseline", "step", 200),
        _box(left, 370, "data/baselines/seed-K/NAME", width=200),
        _box(middle, 370, "data/policy/seed-K", width=220),
        _box(right, 440, "evaluate_offline", "step", 250),
        _box(right, 510, "data/offline/seed-K.json", width=250),
        _box(middle, 510, "evaluate", "step", 220),
        _box(middle, 580, "data/returns", width=220),
        _box(middle, 650, "report", "step", 220),
        _box(right, 650, "reports/index.html", width=250),
        _arrow((120, 50), (120, 90)),
        _arrow((120, 120), (120, 160)),
        _arrow((220, 175), (middle, 175)),
        _arrow((520, 175), (right, 175)),
        _arrow((715, 190), (715, 230)),
        _arrow((715, 260), (715, 300)),
        _arrow((right, 315), (520, 315)),
        _arrow((120, 190), (120, 300)),
        _arrow((180, 190), (180, 250), (360, 250), (360, 300)),
        _arrow((560, 175), (560, 250), (460, 250), (460, 300)),
        _arrow((120, 330), (120, 370)),
        _arrow((410, 330), (410, 370)),
        _arrow((520, 385), (715, 385), (715, 440)),
        _arrow((715, 470), (715, 510)),
        _arrow((right, 525), (520, 525)),
        _arrow((410, 400), (410, 510)),
        _arrow((120, 400), (120, 525), (middle, 525)),
        _arrow((410, 540), (410, 580)),
        _arrow((410, 610), (410, 650)),
        _arrow((520, 665), (right, 665)),
        _note(middle + 120, 354, "policy × model × penalty"),
        _note(left, 640, "colored: a stage"),
        _note(left, 660, "gray: a file or folder"),
    ]
    return _svg(700, "How the data flows", parts)
