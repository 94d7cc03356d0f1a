"""Kills the tracking server in the middle of `learn_policy`, starts it again later, and compares with a run that was
left alone: `python tests/server_away.py [--updates 15000] [--away 300]` (seconds, or until the stage has ended)."""

import argparse
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient

ROOT = Path(__file__).parents[1]
STAGE = "learn_policy@0"
WEIGHTS = Path("data/policy/seed-0/weights.safetensors")
TIMES = ("system/", "policy/seconds", "policy/refresh_seconds")  # differ from run to run
Curves = dict[str, list[tuple[int, float]]]


class Server:
    """An MLflow server with a store of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        stores = [f"--backend-store-uri=sqlite:///{self.folder}/server.db", f"--artifacts-destination={self.folder}/a"]
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen([*command, *stores], stdout=log, stderr=log, start_new_session=True)
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
            except OSError:
                time.sleep(0.5)
            else:
                return
        raise SystemExit("the server does not start")

    def kill(self) -> None:
        """End all its processes at once, as a crash does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def project(server: Server, folder: Path, updates: int) -> Iterator[None]:
    """A scratch clone with the preset `ci`, tracked by the server."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    os.chdir(folder)
    os.environ |= {"MLFLOW_TRACKING_URI": server.uri, "PYTHONPATH": str(folder)}
    subprocess.run([sys.executable, "-m", "pipeline", "preset", "ci"], check=True, stdout=subprocess.DEVNULL)
    params = Path("params.yaml")
    params.write_text(re.sub(r"(policy:\n(?: .*\n)*?  updates: )\d+", rf"\g<1>{updates}", params.read_text(), count=1))
    yield
    os.chdir(ROOT)


def result(client: MlflowClient, log: str) -> tuple[str, Curves]:
    """The digest of the policy's weights, and the curves of the run that the stage printed."""
    found = re.search(r"MLflow run (\w+)", log)
    assert found is not None, log
    run = client.get_run(found[1])
    assert run.info.status == "FINISHED", run.info.status
    keys = [key for key in run.data.metrics if not key.startswith(TIMES)]
    histories = {key: client.get_metric_history(found[1], key) for key in keys}
    curves = {key: sorted((point.step, point.value) for point in history) for key, history in histories.items()}
    return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(), curves


def disturbed(server: Server, client: MlflowClient, away: float) -> str:
    """What `learn_policy` prints while the server is away for so many seconds in its middle, or until its end."""
    process = subprocess.Popen(["dvc", "repro", "-f", "-s", STAGE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    log, run = "", ""
    while not run:
        line = process.stdout.readline()
        log += line
        run = next(iter(re.findall(r"MLflow run (\w+)", line)), "")
    while not any(key.startswith("policy/") for key in client.get_run(run).data.metrics):
        time.sleep(0.5)
    server.kill()
    killed = time.monotonic()
    print(f"server killed; the stage runs: {process.poll() is None}")
    while process.poll() is None and time.monotonic() - killed < away:
        time.sleep(0.5)
    print(f"server away for {time.monotonic() - killed:.0f} s; the stage runs: {process.poll() is None}")
    server.start()
    log += process.stdout.read()
    assert process.wait() == 0, log
    return log


def main() -> None:
    """Run both, and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--updates", type=int, default=15000)
    parser.add_argument("--away", type=float, default=300.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        client = MlflowClient(server.uri)
        server.start()
        with project(server, Path(name) / "project", options.updates):
            log = subprocess.run(["dvc", "repro", STAGE], stdout=subprocess.PIPE, text=True, check=True).stdout
            expected = result(client, log[log.index(f"Running stage '{STAGE}'") :])
            log = disturbed(server, client, options.away)
            print("\n".join(line for line in log.splitlines() if "warning" in line or "done in" in line))
            subprocess.run([sys.executable, "-m", "pipeline", "sync-tracking"], check=True)
            found = result(client, log)
        server.kill()
    points = sum(map(len, expected[1].values()))
    print(
        f"weights equal: {found[0] == expected[0]}; {points} points of {len(expected[1])} curves equal: "
        f"{found[1] == expected[1]}"
    )
    sys.exit(found != expected)


if __name__ == "__main__":
    main()
