"""What every stage opens: ``with stage("learn_policy", seed=0) as run:`` gives params, tracking, a log file, errors."""

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pipeline.params import read_params
from pipeline.tracking.console import log_to_file
from pipeline.tracking.paths import work_dir
from pipeline.tracking.provenance import address, stage_key
from pipeline.tracking.run import StageRun

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK", "GROUP_RANK")  # torchrun, Lightning, srun
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)


def is_main_process() -> bool:
    """False in the processes that torchrun, srun or Lightning's DDP start beside the first one."""
    return all(int(os.environ.get(name) or 0) == 0 for name in RANKS)


@contextmanager
def stage(name: str, seed: int | None = None) -> Iterator[StageRun]:
    """One stage of the pipeline, from its parameters to the end of its MLflow run.

    A ValueError, or a full disk, is the user's to mend: one line on stderr, exit code 1, the traceback in the log file.
    Any other exception leaves with its traceback. Both end the run as FAILED; SIGTERM and Ctrl-C end it as KILLED.
    """
    label = name if seed is None else f"{name}-seed-{seed}"
    if not is_main_process():
        with _one_line_errors():
            params = read_params()
            yield StageRun(name, seed, params, stage_key(address(name, seed), params))
        return
    with log_to_file(work_dir() / "logs" / f"{label}.log"), _one_line_errors(), _sigterm_raises():
        params = read_params()
        from pipeline.stages.preflight import check

        check(params)
        run = StageRun(name, seed, params, stage_key(address(name, seed), params))
        run.start()
        try:
            yield run
            _check_unchanged(run)
        except BaseException as error:
            run.end("FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        run.end("FINISHED")


def _check_unchanged(run: StageRun) -> None:
    """DVC reads params and code again when a stage ends, and would note an edit beside what the old ones made."""
    if stage_key(address(run.name, run.seed), read_params()) != run.key:
        raise ValueError("params.yaml, code or data of this stage changed while it ran, so what it made is of neither; "
                         "start again: with the change undone it goes on from its last resume point")  # fmt: skip


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        line = _user_message(error)
        if line is None:
            raise
        log = getattr(sys.stderr, "log", None)
        if log is not None:
            traceback.print_exc(file=log)
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


def _user_message(error: Exception) -> str | None:
    if isinstance(error, ValueError):
        return " ".join(str(error).split())
    if getattr(error, "errno", None) in _DISK_ERRORS:
        where = getattr(error, "filename", None) or os.getcwd()
        return f"{where}: {os.strerror(error.errno)}; free some space and start again"  # type: ignore[attr-defined]
    return None


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> Any:
    raise SystemExit(128 + number)
