"""Flags and environment variables with hostile values: refused in one line before any work, or harmless."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pipeline.__main__ as command_line
from pipeline.cli.preset import read_preset
from pipeline.cli.sweep import grid
from pipeline.stages.stage import is_main_process, seed_argument
from pipeline.tracking.store import check_server

HUGE = "99999999999999999999999"


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "bundle", "--episodes", HUGE],
        ["evaluate", "bundle", "--seed", HUGE],
        ["evaluate", "bundle", "--seed", "-1"],
        ["select", "bundle", "--k", HUGE],
        ["select", "bundle", "--episodes", HUGE],
        ["select", "bundle", "--seed", HUGE],
        ["inspect", "log.csv", "--header", HUGE],
        ["true-error", "--seed", HUGE],
        ["ui", "--port", "65536"],
        ["bench", "--threads", HUGE],
        ["bench", "--threads", "x"],
    ],
    ids=" ".join,
)
def test_numbers_beyond_their_range_are_refused(words: list[str]):
    done = CliRunner().invoke(command_line.app, words)
    assert (done.exit_code, type(done.exception)) == (2, SystemExit)
    assert "Invalid value for" in done.output


def test_a_rule_is_checked_before_policies_are_evaluated():
    done = CliRunner().invoke(command_line.app, ["select", "no-bundle", "--by", "best"])
    assert str(done.exception).startswith("rule `best` is unknown")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (IsADirectoryError(21, "Is a directory", "data"), "error: data: Is a directory\n"),
        (PermissionError(13, "Permission denied", "/proc/x"), "error: /proc/x: Permission denied\n"),
        (ValueError("`a\nb\x1b[31m` is unknown"), "error: `a b\\x1b[31m` is unknown\n"),
        (ValueError("y" * 100_000), f"error: {'y' * 1000}...\n"),
    ],
)
def test_errors_of_users_are_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def app() -> None:
        raise error

    monkeypatch.setattr(command_line, "app", app)
    with pytest.raises(SystemExit, match="1"):
        command_line.main()
    assert capsys.readouterr().err == line


def test_an_error_that_names_no_file_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def app() -> None:
        raise OSError("ours")

    monkeypatch.setattr(command_line, "app", app)
    with pytest.raises(OSError, match="ours"):
        command_line.main()


def test_a_sweep_without_end_is_refused():
    axes = [f"policy.{key}={','.join(map(str, range(100)))}" for key in ("updates", "batch_size", "critics", "alpha")]
    with pytest.raises(ValueError, match="more than 1000 combinations"):
        grid(axes)


@pytest.mark.parametrize("seed", ["-1", "x", "1e3", HUGE, "4294967296", ""])
def test_stages_refuse_other_seeds(seed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["fit_world_model", f"--seed={seed}"])
    with pytest.raises(SystemExit, match="2"):
        seed_argument()
    assert "argument --seed: must be a whole number from 0 to 4294967295" in capsys.readouterr().err


@pytest.mark.parametrize(("rank", "main"), [("0", True), ("", True), ("x", True), ("-1", True), ("1", False)])
def test_a_rank_that_is_no_number_does_not_count(rank: str, main: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert is_main_process() == main


def test_the_folder_of_shared_logs_may_have_any_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    folder = tmp_path / "my logs: all #1 {x}"
    monkeypatch.setenv("OFFLINE_RL_DATA", str(folder))
    assert read_preset("door-human")["dataset"]["path"] == f"{folder}/minari"


@pytest.mark.parametrize("uri", ["http://", "http://[::1", "https://127.0.0.1:1", "http://a b/"])
def test_addresses_of_servers_that_are_none_are_refused(uri: str):
    with pytest.raises(ValueError, match=r"^MLflow store http.*unset MLFLOW_TRACKING_URI$"):
        check_server(uri)
