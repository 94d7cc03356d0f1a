"""Replace the block ``dataset`` of params.yaml and keep every other line as it is."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from pipeline.cli.preset import backup_of
from pipeline.params import check_blocks_differ, params_text

BLOCK = "dataset"


def write_block(lines: Iterable[str], params_file: Path) -> str:
    """Put the ``lines`` of a block ``dataset`` into ``params_file``, and keep the file as it was beside it.

    Returns one line that says so. Raises ValueError if the file is missing or has that block twice.
    """
    check_blocks_differ(params_file)
    old = params_text(params_file).splitlines()
    start, stop = _extent(old)
    new = [*old[:start], *lines, *old[stop:]]
    backup = backup_of(params_file)
    shutil.copyfile(params_file, backup)
    temporary = params_file.with_suffix(".yaml.new")
    temporary.write_text("\n".join(new) + "\n")
    temporary.replace(params_file)
    return f"{params_file}: block `{BLOCK}` is written; {backup} is the file before"


def _extent(lines: list[str]) -> tuple[int, int]:
    """The lines of the block, without the comments before the next one; (end, end) if there is none."""
    start = next((i for i, line in enumerate(lines) if re.match(rf"{BLOCK}\s*:", line)), len(lines))
    stop = next((i for i in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[i])), len(lines))
    while stop > start + 1 and (not lines[stop - 1].strip() or lines[stop - 1].startswith("#")):
        stop -= 1
    return start, stop
