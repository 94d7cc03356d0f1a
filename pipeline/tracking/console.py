"""The log file of a stage: everything printed or logged goes to the console and into the file."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO


class Tee:
    """A text stream that also writes complete lines to ``log``; intermediate states of progress bars are left out."""

    def __init__(self, console: TextIO, log: IO[str]) -> None:
        self.console, self.log = console, log
        self._line = ""

    def write(self, text: str) -> int:
        """Write to the console, and every line that is now complete to the log."""
        self.console.write(text)
        *lines, self._line = (self._line + text).split("\n")
        self.log.writelines(line.rsplit("\r", 1)[-1] + "\n" for line in lines)
        self._line = self._line.rsplit("\r", 1)[-1]  # a line that is drawn again for hours must not grow
        return len(text)

    def flush(self) -> None:
        """Flush both streams."""
        self.console.flush()
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
    with path.open("w", buffering=1) as log:
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = Tee(sys.stdout, log), Tee(sys.stderr, log)  # type: ignore[assignment]
        handler = _python_logging()
        print(f"log: {path}")
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            sys.stdout, sys.stderr = before


def _python_logging() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    quiet_lightning()
    return handler


def quiet_lightning() -> None:
    """Silence what Lightning says at every fit; its warnings about a run stay."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated")
    warnings.filterwarnings("ignore", message=".*sync_dist=True")  # metrics are already summed over ranks
