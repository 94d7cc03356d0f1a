"""mbrl-lib in an environment of its own: ``--mbrl PYTHON`` names the interpreter that has it."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

from pipeline.bench.timing import Result
from pipeline.bench.world import BenchConfig

WORKER = Path(__file__).with_name("mbrl_worker.py")


def mbrl_results(python: str, config: BenchConfig, device: str) -> list[Result]:
    """Raises ValueError with the interpreter's last line when it cannot run the worker."""
    arguments = json.dumps({**asdict(config), "device": device})
    try:
        ran = subprocess.run([python, str(WORKER), arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise ValueError(f"--mbrl {python}: no such interpreter") from None
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ValueError(f"--mbrl {python}: {last[0]}; install mbrl==0.2.0 there with --no-deps, and torch, hydra-core "
                         "and gymnasium beside it") from None  # fmt: skip
    measured = json.loads(ran.stdout.strip().splitlines()[-1])
    return [_result(case, x["rate"], x["repeats"], device) for case, x in measured.items()]


def _result(case: str, rate: float, repeats: list[float], device: str) -> Result:
    unit = "gradient steps" if case == "ensemble" else "transitions"
    return Result(case, "mbrl", device, "fp32", unit, rate, repeats)
