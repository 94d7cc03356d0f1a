"""Lines that say how far long work is, for a terminal and for a log file."""

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

LINE_SECONDS = 30.0
Item = TypeVar("Item")


def paced(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, one after the other. Every half minute a line says how many are done, how fast, and for how long the
    others will take where their number ``total`` is known: ``fitted Q: 1200 of 3000 updates, 40%, 15.3/s, 0:01:58
    left``. ``what`` is what the items are, such as ``fitted Q: {} updates``."""
    started = printed = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - printed >= LINE_SECONDS:
            printed = now
            print(line(what, done, total, now - started), flush=True)
        yield item


def line(what: str, done: int, total: int | None, seconds: float) -> str:
    """How far the work is after so many seconds."""
    speed = f"{done / seconds:,.1f}/s" if done >= seconds else f"{seconds / done:,.1f} s each"
    if total is None:
        return f"{what.format(done)}, {speed}"
    left = timedelta(seconds=round(seconds * (total - done) / done))
    return f"{what.format(f'{done} of {total}')}, {done / total:.0%}, {speed}, {left} left"
