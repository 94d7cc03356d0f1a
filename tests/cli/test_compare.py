"""``python -m pipeline compare``: made-up runs in folders, and what a leaderboard says of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.cli.compare import compare_runs, labeled, leaderboard, show
from pipeline.cli.compared_run import ComparedRun, from_files, in_folder
from pipeline.reporting.leaderboard import number


def run(name: str, returns: np.ndarray | None = None, **fields: object) -> ComparedRun:
    measured = {} if returns is None else {"return_mean": float(returns.mean()), "seeds": len(returns)}
    plain = {"settings": {}, "dataset": "made-up 1234", "returns": returns, "return_ci": None, **measured, **fields}
    return ComparedRun(name, **plain)  # type: ignore[arg-type]


LOW, HIGH = np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([[3.0, 4.0, 5.0, 6.0]])


def test_the_best_is_first_and_the_first_is_the_reference() -> None:
    board = leaderboard("Runs", [run("low", LOW), run("high", HIGH, seconds=200.0, status="deploy")])
    high, low = board.rows
    assert (high.name, high.place, high.reference, low.name, low.reference) == ("high", 1, False, "low", True)
    assert (high.return_mean, high.iqm) == (4.5, 4.5)
    # of 16 pairs, 3 of high beats 1 and 2 and ties with 3, 4 beats three and ties with one, 5 and 6 beat all four
    assert high.improvement == pytest.approx((2.5 + 3.5 + 4 + 4) / 16)
    assert low.improvement is None
    assert board.header == [
        *("", "run", "decision", "return [95 %]", "IQM [95 %]", "P(improvement) [95 %]", "seeds × episodes", "compute"),
    ]
    assert [row[-1] for row in board.cells] == ["3 min 20 s", "–"]
    assert any("With one seed" in note for note in board.notes)


def test_without_an_environment_the_lower_bound_of_fqe_ranks() -> None:
    estimates = [{"fqe": 5.0, "fqe_low": 1.0}, {"fqe": 4.0, "fqe_low": 3.0}]
    board = leaderboard("Runs", [run("a", estimates=estimates[0]), run("b", estimates=estimates[1])])
    assert ([row.name for row in board.rows], board.ranked_by) == (["b", "a"], board.ranked_by)
    assert "lower bound of fitted Q evaluation" in board.ranked_by
    assert board.header == ["", "run", "FQE (lower bound)"]
    assert [row[2] for row in board.cells] == ["4 (3)", "5 (1)"]
    assert any("No run has an environment" in note for note in board.notes)


def test_runs_are_named_by_what_differs() -> None:
    runs = [run("x", settings={"penalty.weight": "0.5", "fit.patience": "3"}), run("y", settings={"fit.patience": "3"})]
    assert [r.name for r in labeled(runs)] == ["penalty.weight=0.5", "penalty.weight=default"]
    many = [run("x", settings={str(i): "0" for i in range(9)}), run("x", settings={str(i): "1" for i in range(9)})]
    assert [r.name for r in labeled(many)] == ["x (1)", "x (2)"]


def test_data_that_differs_is_named() -> None:
    board = leaderboard("Runs", [run("a", LOW), run("b", HIGH, dataset="other 99")])
    assert any("different data (made-up 1234, other 99)" in note for note in board.notes)


def folder_of(path: Path, returns: np.ndarray, weight: float) -> Path:
    """A finished pipeline with the files that a comparison reads."""
    metrics = path / "reports/metrics"
    metrics.mkdir(parents=True)
    (path / "data/returns").mkdir(parents=True)
    np.savez(path / "data/returns/returns.npz", policy=returns)
    mean = float(returns.mean())
    scores = {"policy": {"return_mean": mean, "return_mean_ci95": [mean - 1, mean + 1]}}
    (metrics / "evaluate.json").write_text(json.dumps({"scores": scores, "seeds": [0]}))
    fqe = {"value": 2.0, "low": 1.0}
    (metrics / "offline.json").write_text(
        json.dumps({"agents": {"policy": {"fqe": fqe, "model": {"value": None, "low": None}}}})
    )
    (metrics / "dataset.json").write_text(json.dumps({"name": "made-up", "digest": "123456789"}))
    (path / "reports/summary.json").write_text(json.dumps({"status": "use cloning"}))
    (path / "params.yaml").write_text(f"seeds: [0]\npenalty:\n  weight: {weight}\n")
    return path


def test_folders_are_compared_as_table_page_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/empty.db")
    names = [str(folder_of(tmp_path / name, returns, w)) for name, returns, w in (("a", LOW, 0.5), ("b", HIGH, 2.0))]
    lines = compare_runs(names, tmp_path / "out")
    assert lines[1].split()[:4] == ["1", "penalty.weight=2.0", "use", "cloning"]
    assert "reference" in lines[2]
    page = (tmp_path / "out/index.html").read_text()
    assert "penalty.weight=0.5" in page
    assert "data:image/png;base64," in page
    assert "http" not in page
    assert (tmp_path / "out/leaderboard.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads((tmp_path / "out/leaderboard.json").read_text())["rows"]
    assert [row["estimates"] for row in rows] == [{"fqe": 2.0, "fqe_low": 1.0}] * 2


def test_missing_returns_are_named_and_leave_the_mean(tmp_path: Path) -> None:
    (folder_of(tmp_path / "a", LOW, 1.0) / "data/returns/returns.npz").unlink()
    found = from_files("a", in_folder(tmp_path / "a"))
    row = leaderboard("Runs", [found]).rows[0]
    assert (row.return_mean, row.return_ci, row.iqm) == (2.5, (1.5, 3.5), None)
    assert "no data/returns/returns.npz, so the interquartile mean" in found.missing[0]


def test_an_unfinished_folder_and_an_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/empty.db")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no reports/metrics/evaluate.json; run `dvc repro` there first"):
        compare_runs(["empty"], tmp_path / "out")
    with pytest.raises(ValueError, match="`nobody` is no folder, DVC experiment, MLflow run or git revision"):
        compare_runs(["nobody"], tmp_path / "out")
    with pytest.raises(ValueError, match="the MLflow experiment has no finished run"):
        compare_runs([], tmp_path / "out")


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"not reachable .* unset MLFLOW_TRACKING_URI"):
        compare_runs([str(folder_of(tmp_path / "a", LOW, 1.0))], tmp_path / "out")


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        show(leaderboard("Runs", [run("low", LOW), run("high", HIGH)]), tmp_path / name)
    for file in ("index.html", "leaderboard.png", "leaderboard.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_numbers_read_well() -> None:
    assert [number(x) for x in (None, -135.853, 0.01234, 12345.6)] == ["–", "-135.9", "0.01234", "12,346"]
