"""``make bench``: the speed of models, learners and ingest on this machine, beside plain loops, mbrl-lib and JAX.

It imports only torch, lightning, einops, numpy and omegaconf, so ``python -m pipeline.bench`` runs without the
libraries of the full CLI.
"""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pipeline.bench.cases import ceilings, ensemble_steps, imagined_transitions, matmul_ceiling, policy_updates
from pipeline.bench.ingest import ingest_speed
from pipeline.bench.latent import LatentShapes, latent_cases
from pipeline.bench.learners import reading_speed
from pipeline.bench.reduced import precisions
from pipeline.bench.rival import Rival, rivals
from pipeline.bench.shells import overheads
from pipeline.bench.table import ingest_table, overhead_table, precision_table, rate_table, reading_table
from pipeline.bench.timing import Result
from pipeline.bench.world import BenchConfig, make_world

OUTPUT = Path("reports/metrics/bench.json")


def main(threads: int = 2, mbrl: str | None = None, jax: str | None = None, output: Path = OUTPUT) -> None:
    """Measure speeds, print tables and write ``output``. ``mbrl`` and ``jax`` are Python interpreters that have these
    libraries."""
    pythons = {name: python for name, python in (("mbrl", mbrl), ("jax", jax)) if python}
    report = measure(BenchConfig(threads=threads), pythons)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten to {output}")


def measure(config: BenchConfig, pythons: dict[str, str]) -> dict[str, Any]:
    """Measure every case on the CPU and, if there is one, on the GPU. ``pythons`` are interpreters by the library that
    is compared. Prints tables; returns the contents of bench.json."""
    torch.set_num_threads(config.threads)
    report: dict[str, Any] = {
        "machine": _machine(config),
        "config": asdict(config),
        "results": [],
        "outside_tensor_work": [],
        "reduced_precision": [],
        "simulated_time": [],
    }
    print(_heading(report["machine"], config))
    for name in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        with rivals(pythons, config, name) as others:
            _measure_device(config, torch.device(name), others, report)
    report["ingest"] = ingest_speed(config)
    report["reading"] = reading_speed(config)
    print(f"\n{_ingest_line(report['ingest'])}\n\n{ingest_table(report['ingest']['cases'])}")
    print(f"\n{reading_table(report['reading'])}")
    return report


def _measure_device(config: BenchConfig, device: torch.device, others: list[Rival], report: dict[str, Any]) -> None:
    world = make_world(config, device)
    results = matmul_ceiling(world)
    ceiling = ceilings(results)
    for case in (ensemble_steps, imagined_transitions, policy_updates):
        results += case(world, ceiling, others)
    for shapes in latents_for(config, device):
        results += latent_cases(shapes, device, config.seconds)
    print(f"\n{rate_table(results)}")
    simulated = _simulated(results, config)
    print(f"\n{simulated['seconds']:,.0f} s of simulated time per second of compute at {config.dt} s a step")
    shells = overheads(world)
    reduced = precisions(world)
    print(f"\n{overhead_table(shells)}\n\n{precision_table(reduced)}")
    report["results"] += [asdict(r) for r in results]
    report["outside_tensor_work"] += shells
    report["reduced_precision"] += reduced
    report["simulated_time"].append({"device": device.type, **simulated})


def latents_for(config: BenchConfig, device: torch.device) -> list[LatentShapes]:
    """The recurrent models to measure; the large ones only on a GPU."""
    return [*config.latents, *(config.large_latents if device.type == "cuda" else [])]


def _simulated(results: list[Result], config: BenchConfig) -> dict[str, float]:
    rate = next(r.rate for r in results if r.case == "imagination" and r.who == "ours")
    return {"dt": config.dt, "seconds": rate * config.dt}


def _machine(config: BenchConfig) -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": config.threads,
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
    }


def _processor() -> str:
    """The name of the processor; on Linux only /proc/cpuinfo has it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _heading(machine: dict[str, Any], c: BenchConfig) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, {c.threads} torch threads, torch {machine['torch']}, "
        f"GPU {machine['gpu'] or 'none'}; float32 unless stated otherwise; medians of 3\n"
        f"ensemble: {c.members} members, {c.obs + c.action} inputs, {c.depth}x{c.width} hidden, {2 * (c.obs + 1)} "
        f"outputs, batch {c.batch} a member\n"
        f"imagination: {c.starts} rollouts of {c.horizon} steps with penalty; ours, plain and jax use the policy, "
        f"mbrl random actions\n"
        f"policy: SAC, {c.critics} critics, {c.obs} observations, {c.action} actions, batch {c.batch}\n"
        + "\n".join(f"rssm, {shapes}" for shapes in c.latents)
    )


def _ingest_line(speed: dict[str, Any]) -> str:
    return (
        f"ingest {speed['mb_per_second']:.0f} MB/s: {speed['transitions']:,} transitions, "
        f"{speed['megabytes']:.0f} MB of .npz in {speed['seconds']:.1f} s"
    )
