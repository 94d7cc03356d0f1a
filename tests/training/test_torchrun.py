"""Two processes fit the same world model whoever starts them: the stage itself, torchrun, torchrun on two nodes, srun.

The nodes are two torchrun agents of this machine, and srun stands for processes with the variables that it sets.
"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.cli.preset import apply_preset
from pipeline.training.trainer import LAUNCHER

ROOT = Path(__file__).parents[2]
STAGE = ["-m", "pipeline.stages.fit_world_model", "--seed", "0"]
TORCHRUN = ["-m", "torch.distributed.run"]
OURS = (LAUNCHER, "RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "MLFLOW_TRACKING_URI")
SLURM = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "fit", "SLURM_NTASKS": "2", "SLURM_NODEID": "0",
         "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_NUM_TASKS": "2", "MASTER_ADDR": "127.0.0.1"}  # fmt: skip


def start(folder: Path, command: list[str], **variables: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k not in OURS} | {"PYTHONPATH": str(ROOT), **variables}
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def finish(processes: list[subprocess.Popen[str]]) -> str:
    """What all of them printed."""
    try:
        printed = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, text in zip(processes, printed, strict=True):
        assert process.returncode == 0, text[-3000:]
    return "".join(printed)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def project(folder: Path, devices: int, nodes: int) -> Path:
    """The params of the preset `ci` with this many processes."""
    folder.mkdir(exist_ok=True)
    params, yaml = folder / "params.yaml", YAML()
    shutil.copy(ROOT / "params.yaml", params)
    apply_preset("ci", params)
    values = yaml.load(params)
    values["trainer"] |= {"devices": devices, "num_nodes": nodes}
    yaml.dump(values, params)
    return folder


def by_stage(folder: Path) -> list[subprocess.Popen[str]]:
    return [start(project(folder, 2, 1), STAGE)]


def by_torchrun(folder: Path) -> list[subprocess.Popen[str]]:
    return [start(project(folder, 2, 1), [*TORCHRUN, "--standalone", "--nproc_per_node=2", *STAGE])]


def by_torchrun_on_two_nodes(folder: Path) -> list[subprocess.Popen[str]]:
    meet = ["--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{free_port()}", "--local_addr=127.0.0.1"]
    project(folder, 1, 2)
    return [start(folder, [*TORCHRUN, "--nnodes=2", "--nproc_per_node=1", *meet, *STAGE]) for _ in range(2)]


def by_srun(folder: Path) -> list[subprocess.Popen[str]]:
    project(folder, 2, 1)
    port = free_port()
    return [
        start(folder, STAGE, **SLURM, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), MASTER_PORT=port)
        for rank in (0, 1)
    ]


@pytest.fixture(scope="module")
def from_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stage started the second process itself."""
    folder = project(tmp_path_factory.mktemp("launch") / "stage", 2, 1)
    finish([start(folder, ["-m", "pipeline.stages.ingest"])])
    printed = finish(by_stage(folder))
    assert "MEMBER: 2/2" in printed
    assert "sync_dist" not in printed
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("launch", [by_torchrun, by_torchrun_on_two_nodes, by_srun])
def test_every_launcher_fits_the_world_model_that_the_stage_fits(launch, from_stage: Path, tmp_path: Path) -> None:
    shutil.copytree(from_stage / "data/dataset", tmp_path / "data/dataset")
    printed = finish(launch(tmp_path))
    assert "MEMBER: 2/2" in printed
    ours, theirs = (folder / "data/world_model/seed-0" for folder in (from_stage, tmp_path))
    assert {"weights.safetensors", "history.json"} <= {path.name for path in ours.iterdir()}
    for path in ours.iterdir():
        assert path.read_bytes() == (theirs / path.name).read_bytes(), path.name
