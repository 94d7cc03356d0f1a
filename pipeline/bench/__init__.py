"""``make bench``: how fast models, learners and ingest are on this machine, beside a plain loop and mbrl-lib.

Imports torch, lightning, einops, numpy and omegaconf alone, so that ``python -m pipeline.bench`` runs on a bare
machine.
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
from pipeline.bench.reduced import precisions
from pipeline.bench.rival import mbrl_results
from pipeline.bench.shells import overheads
from pipeline.bench.table import overhead_table, precision_table, rate_table
from pipeline.bench.timing import Result
from pipeline.bench.world import BenchConfig, make_world

OUTPUT = Path("reports/metrics/bench.json")


def main(threads: int = 2, mbrl: str | None = None, output: Path = OUTPUT) -> None:
    """Measure, print tables, write ``output``. ``mbrl`` is an interpreter that has mbrl-lib."""
    report = measure(BenchConfig(threads=threads), mbrl)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten to {output}")


def measure(config: BenchConfig, mbrl: str | None) -> dict[str, Any]:
    """Every case on the CPU and, where there is one, on the GPU. Prints as it goes; returns what bench.json holds."""
    torch.set_num_threads(config.threads)
    report: dict[str, Any] = {"machine": _machine(config), "config": asdict(config), "results": [],
                              "outside_tensor_work": [], "reduced_precision": [], "simulated_time": []}  # fmt: skip
    print(_heading(report["machine"], config))
    for name in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        _measure_device(config, torch.device(name), mbrl, report)
    report["ingest"] = ingest_speed(config)
    print(f"\n{_ingest_line(report['ingest'])}")
    return report


def _measure_device(config: BenchConfig, device: torch.device, mbrl: str | None, report: dict[str, Any]) -> None:
    rival = mbrl_results(mbrl, config, device.type) if mbrl else []
    world = make_world(config, device)
    results = matmul_ceiling(world)
    ceiling = ceilings(results)
    for case in (ensemble_steps, imagined_transitions, policy_updates):
        results += case(world, ceiling)
    results += rival
    for shapes in latents_for(config, device):
        results += latent_cases(shapes, device, config.seconds)
    print(f"\n{rate_table(results)}")
    simulated = _simulated(results, config)
    print(f"\n{simulated['seconds']:,.0f} s of simulated time per second of compute at {config.dt} s a step")
    shells, reduced = overheads(world), precisions(world)
    print(f"\n{overhead_table(shells)}\n\n{precision_table(reduced)}")
    report["results"] += [asdict(r) for r in results]
    report["outside_tensor_work"] += shells
    report["reduced_precision"] += reduced
    report["simulated_time"].append({"device": device.type, **simulated})


def latents_for(config: BenchConfig, device: torch.device) -> list[LatentShapes]:
    """The large ones take a GPU."""
    return [*config.latents, *(config.large_latents if device.type == "cuda" else [])]


def _simulated(results: list[Result], config: BenchConfig) -> dict[str, float]:
    rate = next(r.rate for r in results if r.case == "imagination" and r.who == "ours")
    return {"dt": config.dt, "seconds": rate * config.dt}


def _machine(config: BenchConfig) -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": _processor(), "cores": os.cpu_count(), "threads": config.threads, "gpu": gpu,
            "python": platform.python_version(), "torch": torch.__version__,
            "system": platform.system()}  # fmt: skip


def _processor() -> str:
    """Linux names it in a file only."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _heading(machine: dict[str, Any], c: BenchConfig) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, {c.threads} torch threads, torch {machine['torch']}, "
        f"GPU {machine['gpu'] or 'none'}; float32 unless said; medians of 3\n"
        f"ensemble: {c.members} members, {c.obs + c.action} inputs, {c.depth}x{c.width} hidden, {2 * (c.obs + 1)} "
        f"outputs, batch {c.batch} a member\n"
        f"imagination: {c.starts} rollouts of {c.horizon} steps with penalty; ours and plain act by the policy, "
        f"mbrl by random actions\n"
        f"policy: SAC {'x'.join(map(str, c.hidden))}, {c.critics} critics, {c.obs} observations, {c.action} actions, "
        f"batch {c.batch}\n" + "\n".join(f"rssm, {shapes}" for shapes in c.latents)
    )


def _ingest_line(found: dict[str, Any]) -> str:
    return (f"ingest {found['mb_per_second']:.0f} MB/s: {found['transitions']:,} transitions, "
            f"{found['megabytes']:.0f} MB of .npz in {found['seconds']:.1f} s")  # fmt: skip
