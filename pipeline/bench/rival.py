"""Libraries that are measured in an environment of their own: ``--mbrl PYTHON`` and ``--jax PYTHON`` name interpreters
that have them. A worker process does one piece of work each time it is asked, so that it takes turns with our code."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pipeline.bench.timing import Work
from pipeline.bench.world import BenchConfig

WORKERS = Path(__file__).parent  # holds <name>_worker.py
INSTALL = {
    "mbrl": "install mbrl==0.2.0 there with --no-deps, then torch, hydra-core and gymnasium",
    "jax": 'install "jax[cpu]" there',
}


class Rival:
    """A running worker. ``cases`` maps the name of a case and the worker's variant of it to work."""

    def __init__(self, name: str, python: str, config: BenchConfig, device: str) -> None:
        arguments = [python, str(WORKERS / f"{name}_worker.py"), json.dumps({**asdict(config), "device": device})]
        try:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        except OSError:
            raise ValueError(f"--{name} {python}: no such interpreter") from None
        self.place, self.fix = f"--{name} {python}", INSTALL[name]
        self.cases = {(case, name + variant) for case, variant in json.loads(self._answer())}

    def works(self, case: str) -> dict[str, Work]:
        """The work of every variant of ``case``, by its name in the table."""
        return {who: self._work(case, who) for one, who in sorted(self.cases) if one == case}

    def close(self) -> None:
        """End the worker."""
        self.process.kill()
        self.process.communicate()

    def _work(self, case: str, who: str) -> Work:
        def work() -> float:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps([case, who]) + "\n")
            self.process.stdin.flush()
            return float(self._answer())

        return work

    def _answer(self) -> str:
        """The worker's next line. Raises ValueError with the last line of its errors if it has ended."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            last = self.process.stderr.read().strip().splitlines()[-1:] or ["no message"]
            raise ValueError(f"{self.place}: {last[0]}; {self.fix}")
        return line


@contextmanager
def rivals(pythons: dict[str, str], config: BenchConfig, device: str) -> Iterator[list[Rival]]:
    """A worker for each library that has an interpreter in ``pythons``; they end with the block. Raises ValueError for
    an interpreter that cannot run its worker."""
    running: list[Rival] = []
    try:
        for name, python in pythons.items():
            running.append(Rival(name, python, config, device))
        yield running
    finally:
        for rival in running:
            rival.close()
