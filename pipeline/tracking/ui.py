"""``make ui``: MLflow's pages, opened on the runs of this project."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from urllib.parse import quote

from pipeline.tracking import store
from pipeline.tracking.paths import work_dir

HOST, PORT = "127.0.0.1", 5000
FIRST_EXPERIMENT = "1"  # of this project in its own store, where MLflow's default experiment is 0
START_SECONDS = 60.0
# A view of MLflow's table of runs, stored in the experiment: what tells whole pipelines apart, and what came of them.
VIEW = "pipeline"
COLUMNS = [
    "attributes.`Created`",
    "tags.`pipeline.status`",
    "metrics.`policy_return`",
    "metrics.`baseline_return`",
    "metrics.`logged_return`",
    "metrics.`fqe`",
    "metrics.`trusted_horizon`",
    "params.`policy.name`",
    "params.`penalty.name`",
    "params.`penalty.weight`",
    "params.`seeds`",
]


def runs_url(server: str, experiment: str, query: str) -> str:
    """An experiment's table of runs. The workflow keeps MLflow's sidebar from offering tools for language models."""
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?workflowType=machine_learning&{query}"


def report_filter(key: str) -> str:
    """The search that finds the runs behind a report by the key of its stage."""
    return f"tags.`stage.report.key` = '{key}'"


def report_runs_url(key: str) -> str:
    """The runs behind a report, in this project's own store while ``make ui`` runs."""
    return runs_url(f"http://{HOST}:{PORT}", FIRST_EXPERIMENT, f"searchFilter={quote(report_filter(key), safe='')}")


def show(port: int) -> Iterator[str]:
    """Serve MLflow's pages until Ctrl-C, and open a browser where there is one; a store on a server has its own pages.
    Yields lines for the user. Raises ValueError for a busy port and a store that cannot be opened."""
    uri = store.tracking_uri()
    remote = uri.startswith("http")
    if not remote:
        _check_free(port)
    experiment = store.open_experiment(uri)
    server = uri if remote else f"http://{HOST}:{port}"
    _store_view(uri, experiment)
    url = runs_url(server, experiment, f"viewStateShareKey={VIEW}")
    yield f"runs: {url}"
    if remote:
        _open_browser(url)
        return
    threading.Thread(target=_open_when_ready, args=(server, url), daemon=True).start()
    command = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", uri, "--default-artifact-root", str(work_dir() / "mlartifacts")]
    code = _run_to_the_end([*command, *stores])
    if code != 0:
        raise ValueError(f"MLflow's server ended with code {code}; its lines above say why")


def _run_to_the_end(command: list[str]) -> int:
    """The exit code of ``command``; 0 if Ctrl-C or SIGTERM ends it, which end all its processes."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        signal.signal(signal.SIGTERM, before)


def _store_view(uri: str, experiment: str) -> None:
    view = {"selectedColumns": COLUMNS, "orderByKey": "attributes.start_time", "orderByAsc": False, "startTime": "ALL"}
    others = {"searchFilter": "", "lifecycleFilter": "Active", "datasetsFilter": [], "runsPinned": [], "runsHidden": []}
    state = json.dumps({**view, **others, "runsExpanded": {}})
    store.client(uri).set_experiment_tag(experiment, f"mlflow.sharedViewState.{VIEW}", state)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            fix = f"open http://{HOST}:{port} if that is MLflow, or run `python -m pipeline ui --port {port + 1}`"
            raise ValueError(f"port {port} of {HOST} cannot be used ({error.strerror}); {fix}") from None


def _open_when_ready(server: str, url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{server}/health", timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            _open_browser(url)
            return


def _open_browser(url: str) -> None:
    """Open a browser with windows; one that draws into this terminal would hide the server."""
    if sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        webbrowser.open(url)
