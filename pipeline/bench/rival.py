"""Measures mbrl-lib in its own environment: ``--mbrl PYTHON`` names an interpreter that has it."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

from pipeline.bench.timing import Result
from pipeline.bench.world import BenchConfig

WORKER = Path(__file__).with_name("mbrl_worker.py")


def mbrl_results(python: str, config: BenchConfig, device: str) -> list[Result]:
    """The rates of mbrl-lib. Raises ValueError with the last error line if ``python`` cannot run the worker."""
    arguments = json.dumps({**asdict(config), "device": device})
    try:
        ran = subprocess.run([python, str(WORKER), arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise ValueError(f"--mbrl {python}: no such interpreter") from None
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["no message"]
        fix = "install mbrl==0.2.0 there with --no-deps, then torch, hydra-core and gymnasium"
        raise ValueError(f"--mbrl {python}: {last[0]}; {fix}") from None
    measured = json.loads(ran.stdout.strip().splitlines()[-1])
    return [_result(case, x["rate"], x["repeats"], device) for case, x in measured.items()]


def _result(case: str, rate: float, repeats: list[float], device: str) -> Result:
    unit = "gradient steps" if case == "ensemble" else "transitions"
    return Result(case, "mbrl", device, "fp32", unit, rate, repeats)
