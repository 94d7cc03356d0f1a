"""The frame of every stage: ``with stage("learn_policy", seed=0) as run:`` reads params.yaml, opens the MLflow run and
the log file, and turns user errors into one line."""

import argparse
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pipeline.envs.permission import allow_named
from pipeline.params import read_params
from pipeline.stages.launcher import Launcher
from pipeline.stages.outputs import Outputs, locked
from pipeline.tracking.console import Tee, log_to_file
from pipeline.tracking.paths import work_dir
from pipeline.tracking.provenance import address, label, stage_key
from pipeline.tracking.run import StageRun
from pipeline.tracking.stage_lines import StageLines
from pipeline.validation import LARGEST_SEED

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK", "GROUP_RANK")  # torchrun, Lightning, srun
LOCKS = Path(".work/locks")  # of this folder's outputs: DVC's temporary copies have outputs of their own
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)


def is_main_process() -> bool:
    """False in the additional processes that torchrun, srun or Lightning's DDP start."""
    ranks = (os.environ.get(name, "") for name in RANKS)
    return not any(rank.isdecimal() and int(rank) > 0 for rank in ranks)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {LARGEST_SEED}")
    return int(text)


def seed_argument() -> int:
    """The value of ``--seed`` on the command line."""
    return int(_with_seed().parse_args().seed)


def name_and_seed() -> tuple[str, int]:
    """The values of ``--name`` and ``--seed`` on the command line."""
    parser = _with_seed()
    parser.add_argument("--name", required=True)
    values = parser.parse_args()
    return str(values.name), int(values.seed)


def _with_seed() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=_seed, required=True)
    return parser


class Stage(StageRun):
    """The MLflow run of a stage, and where the stage writes."""

    def __init__(
        self,
        name: str,
        seed: int | None,
        choice: str | None,
        params: dict[str, Any],
        outputs: Outputs,
        launcher: Launcher,
    ) -> None:
        super().__init__(name, seed, params, stage_key(address(name, seed, choice), params), choice)
        self._outputs, self._launcher = outputs, launcher

    def output(self, path: Path | str) -> Path:
        """Where to write the output ``path`` until it is put in place."""
        return self._outputs.path(path)

    def publish(self) -> None:
        """Put the outputs in place; the end of a stage without an error does it too.

        Raises ValueError if they are not this stage's to write: its inputs were edited, or DVC ended, or another
        process owns them.
        """
        if self.is_main:
            self._check_unchanged()
            if self._launcher.gone():
                raise ValueError(self._launcher.message())
            self._outputs.publish()

    def _check_unchanged(self) -> None:
        """DVC records params and code when a stage ends: an edit made meanwhile would be recorded with outputs of the
        old version."""
        if stage_key(address(self.name, self.seed, self.choice), read_params()) != self.key:
            raise ValueError(
                "params.yaml, code or data of this stage changed while it ran, so its outputs match neither version; "
                "run it again. Undo the change first to resume from the last resume point"
            )


@contextmanager
def stage(
    name: str,
    seed: int | None = None,
    start: bool = True,
    choice: str | None = None,
    prepare: Callable[[dict[str, Any]], None] | None = None,
) -> Iterator[Stage]:
    """One stage of the pipeline, from reading its parameters to closing its MLflow run.

    ``choice`` is the entry of a list in params.yaml that the stage runs for, beside its seed. ``prepare`` gets the
    checked params and may change what the stage reads, before its key counts it.
    With ``start`` False, the stage opens the run itself with ``run.start()``, so that mistakes of the user that it
    meets before leave no failed run.
    A ValueError or a full disk is for the user to fix: one line on stderr, exit code 1, the traceback in the log file.
    Any other exception keeps its traceback. Both end the run as FAILED; SIGTERM, Ctrl-C and the end of the DVC that
    started it end it as KILLED. The outputs of an earlier run stay as they were unless this one succeeds.
    """
    own = label(name, seed, choice)
    launcher = Launcher()
    if not is_main_process():
        outputs = Outputs(f"{own}-{os.getpid()}", None)
        with _one_line_errors(), outputs.scratch():
            params = read_params()
            allow_named(params)
            yield Stage(name, seed, choice, params, outputs, launcher)
        return
    with (
        _one_line_errors(),  # of the log file
        log_to_file(work_dir() / "logs" / f"{own}.log"),
        _one_line_errors(),
        sigterm_raises(),
        launcher.watched(),
    ):
        params = read_params()
        from pipeline.stages.preflight import check, check_seeds

        check_seeds(params.get("seeds"))  # the lines of the stages count them
        lines = StageLines(address(name, seed, choice))
        print(lines.first(), flush=True)
        check(params, name)
        allow_named(params)
        with locked(LOCKS / f"{own}.lock", _say) as lock, (outputs := Outputs(own, lock)).scratch():
            if prepare is not None:
                prepare(params)
            run = Stage(name, seed, choice, params, outputs, launcher)
            if start:
                run.start()
            lines.ready()
            try:
                yield run
                run.publish()
            except BaseException as error:
                if run.is_main:
                    run.end("FAILED" if isinstance(error, Exception) else "KILLED")
                raise
            run.end("FINISHED")
        for line in lines.last():
            print(line, flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        line = _user_message(error)
        if line is None:
            raise
        if isinstance(sys.stderr, Tee):
            with suppress(OSError):  # the disk may be full
                traceback.print_exc(file=sys.stderr.log)
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


def _user_message(error: Exception) -> str | None:
    """One line for an error that the user can fix, else None."""
    if isinstance(error, ValueError):
        return " ".join(str(error).split())
    full = os.strerror(errno.ENOSPC)
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        place = error.filename or os.getcwd()
    elif full in str(error):  # an error of safetensors or SQLite, without a number
        place = os.getcwd()
    else:
        return None
    return (
        f"{place}: {full}; the outputs and resume points of before are as they were: free some space and start again "
        "(`python -m pipeline clean` lists what may go)"
    )


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM raises SystemExit inside the block, so that what it holds is closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
