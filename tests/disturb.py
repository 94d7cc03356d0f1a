"""Disturb the pipeline at random moments, then run it to its end, and compare every byte with an undisturbed run:

    python tests/disturb.py FOLDER stage 20   # kill -9 of the stage that runs
    python tests/disturb.py FOLDER dvc 10     # SIGTERM or kill -9 of DVC alone, then other params at once
    python tests/disturb.py FOLDER disk 8     # fill the disk; FOLDER on a small one, such as a tmpfs

It takes some minutes. FOLDER keeps the undisturbed run for the next call; SEED in the environment changes the moments.
"""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
LONGEST = 15.0  # seconds between the start of a stage, or of DVC, and its disturbance
# The other params: each makes one stage long, the one that is hit unless the moment is early.
OTHERS = (
    {"policy.updates": 40000},
    {"bc.updates": 40000},
    {"fit.max_epochs": 500, "fit.patience": 500},
    {"dataset.seed": 1},
)
DVC = [sys.executable, "-m", "dvc"]
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "DVC_STAGE"} | {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
}
STAGES = ("ingest", "fit_world_model", "assess_world_model", "baseline", "learn_policy", "evaluate_offline",
          "evaluate", "report")  # fmt: skip


def clone(folder: Path, source: Path = ROOT) -> Path:
    """A new copy of the last commit of ``source``, with the preset ``ci``."""
    shutil.rmtree(folder, ignore_errors=True)
    log_of(folder).unlink(missing_ok=True)
    subprocess.run(["git", "clone", "-q", str(source), str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "pipeline", "preset", "ci"], cwd=folder, check=True, capture_output=True)
    return folder


def log_of(folder: Path) -> Path:
    """What the runs in ``folder`` print."""
    return Path(tempfile.gettempdir()) / f"disturb{str(folder).replace('/', '-')}.log"


def repro(folder: Path) -> subprocess.Popen[bytes]:
    """`dvc repro`, with its output at the end of the log, which is not on the disk that is filled."""
    with log_of(folder).open("ab") as log:
        return subprocess.Popen([*DVC, "repro"], cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log)


def digests(folder: Path) -> dict[str, str]:
    """Of every file that a stage wrote, and of dvc.lock."""
    files = [p for top in ("data", "reports") for p in (folder / top).rglob("*") if p.is_file()]
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in [*files, folder / "dvc.lock"]
    }


def undisturbed(folder: Path) -> dict[str, str]:
    """What a run gives that is left alone."""
    if not (folder / "dvc.lock").exists() or not (folder / "done").exists():
        assert repro(clone(folder)).wait() == 0, log_of(folder)
        (folder / "done").touch()
    return digests(folder)


def stages(folder: Path) -> list[psutil.Process]:
    """The stages that work in ``folder``, whoever is their parent."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            here = process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE
            if here and any(part.startswith("pipeline.stages.") for part in process.cmdline()):
                found.append(process)
    return found


def set_params(folder: Path, others: Mapping[str, int]) -> None:
    """The params of the preset, with ``others`` by key."""
    from ruamel.yaml import YAML

    shutil.copy(folder / "params.ci", folder / "params.yaml")
    yaml, file = YAML(), folder / "params.yaml"
    values = yaml.load(file)
    for key, value in others.items():
        block, option = key.split(".")
        values[block][option] = value
    if others:
        yaml.dump(values, file)


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Leave no byte free."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    try:
        yield
    finally:
        (folder / "filler").unlink()


def disturb(folder: Path, how: str, moments: random.Random, number: int, count: int) -> str:
    """Start a repro and disturb it; returns what was hit, and empty text if the pipeline was done before."""
    if how == "dvc":
        set_params(folder, OTHERS[number % len(OTHERS)])
    dvc = repro(folder)
    target = "" if how == "dvc" else f"pipeline.stages.{STAGES[number * len(STAGES) // count]}"
    while target and not any(target in process.cmdline() for process in stages(folder)) and dvc.poll() is None:
        time.sleep(0.1)
    wait = moments.uniform(0.2, LONGEST)
    with contextlib.suppress(subprocess.TimeoutExpired):
        assert dvc.wait(wait) == 0, log_of(folder)
        return ""
    running = stages(folder)
    name = f"{wait:.1f} s, {' '.join(running[0].cmdline()[2:]) if running else 'between stages'}"
    if how == "dvc":
        dvc.send_signal(signal.SIGKILL if number % 8 < 4 else signal.SIGTERM)
        dvc.wait()
        set_params(folder, {})
        assert repro(folder).wait() == 0, log_of(folder)
        return name
    if how == "stage":
        for process in running:
            process.kill()
        dvc.wait()
        return name
    with full_disk(folder):
        code = dvc.wait()
    subprocess.run([sys.executable, "-m", "pipeline", "clean", "--delete"], cwd=folder, check=True, capture_output=True)
    said = log_of(folder).read_text().splitlines()
    return f"{name}: DVC ended with {code}; " + " | ".join(line for line in said[-12:] if "rror" in line)


def main(folder: Path, how: str, count: int) -> None:
    """Disturb ``count`` times, run to the end, compare."""
    expected = undisturbed(folder / "undisturbed")
    work, moments = clone(folder / how, folder / "undisturbed"), random.Random(int(os.environ.get("SEED", "0")))
    shutil.copy(work / "params.yaml", work / "params.ci")
    if how == "dvc":  # begin with its results: DVC takes them from its cache, and an orphan would spoil them
        shutil.rmtree(work)
        shutil.copytree(folder / "undisturbed", work, symlinks=True, ignore=shutil.ignore_patterns(".work"))
        shutil.copy(work / "params.yaml", work / "params.ci")
    done = 0
    while done < count:
        if hit := disturb(work, how, moments, done, count):
            done += 1
            print(f"{done}. {hit}", flush=True)
            assert "Traceback" not in log_of(work).read_text(), log_of(work)
            if how == "dvc":
                compare(expected, work)
            continue
        print("done before the moment: a new run", flush=True)
        compare(expected, work)
        work = clone(folder / how, folder / "undisturbed")
        shutil.copy(work / "params.yaml", work / "params.ci")
    set_params(work, {})
    assert repro(work).wait() == 0, log_of(work)
    compare(expected, work)
    until = time.monotonic() + 30
    while stages(work) and time.monotonic() < until:
        time.sleep(1)
    assert not stages(work), "an orphan lives on"
    compare(expected, work)
    print(f"{count} disturbances ({how}): {len(expected)} files, equal to the last bit")


def compare(expected: dict[str, str], work: Path) -> None:
    """Fails with the files that differ."""
    found = digests(work)
    assert found == expected, sorted(f for f in {*found, *expected} if found.get(f) != expected.get(f))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3]))
