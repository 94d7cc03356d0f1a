"""Units of columns, from a line of a table's header or from the name of a column, such as ``temp [°C]``."""

import re
from collections.abc import Sequence

NO_UNIT = ("", "-", "--", "1", "none", "unitless", "dimensionless")
WORDS = (
    *("degrees?", "deg", "celsius", "fahrenheit", "kelvin", "rad", "radians?", "percent", "ppm", "ppb", "rpm", "bpm"),
    *("seconds?", "sec", "minutes?", "min", "mins", "hours?", "hr", "hrs", "days?", "years?", "met(er|re)s?", "feet"),
    *("volts?", "amps?", "amperes?", "watts?", "ohms?", "newtons?", "joules?", "pascals?", "grams?", "lit(er|re)s?"),
    *("m?bar", "psi[ag]?", "torr", "atm", "mmhg", "inhg", "inwc", "gpm", "cfm", "lpm", "scfm", "btu", "mmbtu", "hp"),
    *("ft", "inch(es)?", "in", "lbs?", "mph", "kph", "kn", "knots?", "gal", "eur", "usd", "counts?", "steps?", "iu"),
)
PREFIX, BASE = "[numµμcdhkMGT]", "m|g|s|A|K|mol|cd|Hz|N|Pa|J|W|V|Ω|F|C|H|T|S|lm|lx|L|l|eq|Wh|VA|VAh|var|Ah|eV|B|U"
ATOM = re.compile(rf"({PREFIX}?({BASE})|h|d|°[CFK]?|º[CF]?|deg[CFK]|[%‰€$£CF]|(?i:{'|'.join(WORDS)}))")
APART = re.compile(r"(?<=\w)\^?[-+]?\d+\b|[²³⁻¹]+|[\s/*·.()^]+|\bper\b")  # powers, and what stands between units
BRACKETS = re.compile(r"(?<=.)[\[(]([^\[\]()]+)[\])]")


def is_unit(text: str) -> bool:
    """Whether a trimmed text reads as a unit: ``°C``, ``m/s^2``, ``DEG F``, ``kWh``."""
    atoms = [atom for atom in APART.sub(" ", text).split() if atom]
    return bool(atoms) and len(text) <= 20 and all(ATOM.fullmatch(atom) for atom in atoms)


def unit_of_name(name: str) -> str | None:
    """The unit in brackets that a name ends with, as in ``temp [°C]`` or ``speed (m/s)``; None if there is none."""
    return next((text.strip() for text in BRACKETS.findall(name) if is_unit(text.strip())), None)


def units_of_lines(names: Sequence[str], lines: Sequence[Sequence[str]]) -> dict[str, str]:
    """The units of columns, from the first of the ``lines`` below the names that has units in most of its cells."""
    for cells in lines:
        filled = {name: cell for name, cell in zip(names, cells, strict=False) if cell.lower() not in NO_UNIT}
        if filled and 2 * sum(map(is_unit, filled.values())) > len(filled):
            return filled
    return {}
