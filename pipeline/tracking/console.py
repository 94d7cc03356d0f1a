"""The log file of a stage: everything printed or logged goes to the console and into the file."""

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

COLOR = re.compile(r"\x1b\[[0-9;]*m")
# Loggers of libraries that say what no user can act on, and why.
QUIET_LOGGERS = {
    "lightning.pytorch.utilities.rank_zero": logging.WARNING,  # what it says at every fit; its warnings stay
    "matplotlib.font_manager": logging.ERROR,  # a stale list of fonts lacks those of formulas, which no figure has
}
# Warnings of libraries, and why they are left out.
QUIET_WARNINGS = (
    ".*LeafSpec.*deprecated",  # Lightning about its own calls of torch
    ".*sync_dist=True",  # metrics are already summed over ranks
    ".*does not have many workers",  # the loader gives numbers of chunks alone; the modules draw the data
    ".*GPU available but not used",  # `trainer.accelerator` says so, and `doctor` lists the devices
    ".*The environment .* is out of date",  # Gymnasium; the version is that of the logs
    ".*Box (low|high)'s precision lowered",  # Gymnasium; policies act in float32
)


class Tee:
    """A text stream that also writes complete lines to ``log``; intermediate states of progress bars are left out, and
    colors wherever there is no terminal."""

    def __init__(self, console: TextIO, log: IO[str]) -> None:
        self.console, self.log = console, log
        self._terminal = console.isatty()
        self._line = ""

    def write(self, text: str) -> int:
        """Write to the console, and every line that is now complete to the log."""
        plain = COLOR.sub("", text)
        self.console.write(text if self._terminal else plain)
        *lines, self._line = (self._line + plain).split("\n")
        with suppress(OSError):  # on a full disk, the log lacks lines, and the stage goes on
            self.log.writelines(line.rsplit("\r", 1)[-1] + "\n" for line in lines)
        self._line = self._line.rsplit("\r", 1)[-1]  # a line that is drawn again for hours must not grow
        return len(text)

    def flush(self) -> None:
        """Flush both streams."""
        self.console.flush()
        with suppress(OSError):
            self.log.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.console, name)


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Copy everything printed inside the block to ``path``, and print that path first. The previous log is kept as
    ``.previous.log``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_suffix(".previous.log"))
    log = path.open("w", buffering=1)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Tee(sys.stdout, log), Tee(sys.stderr, log)  # type: ignore[assignment]
    handler = _python_logging()
    print(f"log: {path}")
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        sys.stdout, sys.stderr = before
        with suppress(OSError):
            log.close()


def _python_logging() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    quiet_libraries()
    return handler


def quiet_libraries() -> None:
    """Silence what libraries say at every run and no user can act on; all other warnings stay."""
    for name, level in QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    for message in QUIET_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
