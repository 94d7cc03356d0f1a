"""One SQLite store that several projects share."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.tracking import store

ROOT = Path(store.__file__).parents[2]
OPEN = "from pipeline.tracking import store; print(store.open_experiment(store.tracking_uri()))"
# Opens the store up to the moment at which another process may start its first migration too.
KILLED = """
import os, signal
from alembic.operations import Operations
from pipeline.tracking import store
Operations.batch_alter_table = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
store.open_experiment(store.tracking_uri())
"""


def start(folder: Path, uri: str, code: str = OPEN) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    (folder / "params.yaml").touch()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": uri, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as opened:
        return {name for (name,) in opened.execute("select name from sqlite_master where type = 'table'")}


@pytest.mark.slow
def test_two_projects_open_one_new_store(tmp_path: Path) -> None:
    (tmp_path / "stores").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "stores")
    uris = [f"sqlite:///{tmp_path / folder / 'mlflow.db'}" for folder in ("stores", "link")]
    processes = [start(tmp_path / name, uri) for name, uri in zip("ab", uris, strict=True)]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert printed == ["1\n", "1\n"]
    assert "metrics" in tables(tmp_path / "stores/mlflow.db")
    assert not any(name.startswith("_alembic_tmp") for name in tables(tmp_path / "stores/mlflow.db"))


def test_a_first_start_that_is_killed_leaves_no_half_of_a_store(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    killed = start(tmp_path / "a", f"sqlite:///{database}", KILLED)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "mlflow.db.partial").exists()
    assert not database.exists()  # so the next start makes it from the beginning


def test_a_half_made_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("create table _alembic_tmp_metrics (key text)")
        opened.commit()
    with pytest.raises(ValueError, match=rf"its first start was interrupted .*: move {database} away$") as error:
        store.open_experiment(f"sqlite:///{database}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_text("no database, and longer than the header of one" * 40)
    with pytest.raises(ValueError, match=r"file is not a database; correct or unset MLFLOW_TRACKING_URI$"):
        store.open_experiment(f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:////a/../b.db?timeout=5", "/b.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("http://127.0.0.1:5000", None),
        ("postgresql://me@host/sqlite", None),
    ],
)
def test_the_file_of_a_store(uri: str, file: str | None) -> None:
    assert store.database_file(uri) == (None if file is None else Path(file))
