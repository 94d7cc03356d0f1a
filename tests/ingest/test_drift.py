"""Errors on the last part of a log beside errors on random parts: drifting plants are told from steady ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.checks import CHECKS, CheckResult
from pipeline.ingest.checks.sample import Sample
from pipeline.ingest.writer import write_dataset

STEPS = 4000
A = np.array([[0.9, 0.1, 0.0], [0.0, 0.8, 0.2], [-0.1, 0.0, 0.85]])
B = np.array([0.5, 0.2, 0.4])
GAIN = {  # of the action, by the share of the log that is over
    "steady": lambda t: 1.0,
    "wears out": lambda t: 1 - 0.7 * t,
    "breaks": lambda t: 1.0 if t < 0.8 else 0.5,
    "broke early": lambda t: 1.0 if t < 0.2 else 0.5,
}


def plant(gain: str, episodes: int = 40, seed: int = 0, moved: bool = False) -> list[Episode]:
    """A mildly nonlinear plant of three states under feedback with noise. ``moved``: the operating point changes for
    the last fifth, the plant does not."""
    draws, steps, step = np.random.default_rng(seed), STEPS // episodes, 0
    log = []
    for _ in range(episodes):
        state, action = [draws.normal(size=3)], []
        for _ in range(steps):
            x, time = state[-1], step / STEPS
            u = 1.5 - 0.2 * x[0] + 0.2 * draws.normal() if moved and time > 0.8 else -0.5 * x[0] + 0.7 * draws.normal()
            action.append([np.clip(u, -2, 2)])
            bend = 0.2 * np.sin(2 * x[[1, 2, 0]])
            state.append(A @ x + bend + B * GAIN[gain](time) * action[-1][0] + 0.05 * draws.normal(size=3))
            step += 1
        states = np.array(state)
        log.append(Episode({"state": states}, np.array(action), -(states[1:] ** 2).sum(axis=1), False))
    return log


def drift(folder: Path, episodes: list[Episode], split: str = "random") -> CheckResult:
    names = {"state": [f"x{i}" for i in range(episodes[0].obs["state"].shape[1])]}
    log = LoggedData("plant", "test", episodes, obs_names=names)
    result = CHECKS["drift"](Sample(write_dataset(folder / "d", log, "plant", 0.1, 0, split=split)))
    assert result is not None
    return result


@pytest.mark.parametrize("episodes", [1, 40])
@pytest.mark.parametrize("gain", ["wears out", "breaks"])
def test_a_plant_that_drifts(gain: str, episodes: int, tmp_path: Path) -> None:
    result = drift(tmp_path, plant(gain, episodes), "last" if episodes == 1 else "random")
    assert result.severity == "warning"
    assert result.meaning.startswith("The process drifts: ")
    assert result.evidence["feature"] == "x0"  # the action moves it most
    assert result.evidence["error_ratio"] > (1.7 if gain == "wears out" else 3)
    assert result.evidence["error_ratio"] == pytest.approx(result.evidence["error_ratio_in_like_states"], rel=0.05)
    assert ("set `dataset.split: last`" in result.remedy) == (episodes > 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_plant_that_does_not(seed: int, tmp_path: Path) -> None:
    result = drift(tmp_path, plant("steady", seed=seed))
    assert result.severity == "info"
    assert result.evidence["error_ratio_of_all_features"] == pytest.approx(1, abs=0.1)


def test_time_decides_what_comes_last_and_not_the_order_of_the_log(tmp_path: Path) -> None:
    timed = [replace(e, span=(1e6 + 100 * i, 1e6 + 100 * i + 100)) for i, e in enumerate(plant("breaks"))]
    shuffled = [timed[i] for i in np.random.default_rng(0).permutation(len(timed))]
    assert drift(tmp_path, shuffled).evidence["error_ratio"] > 3
    without = [replace(e, span=None) for e in shuffled]
    assert drift(tmp_path, without).severity == "info"


def test_a_change_that_most_of_the_log_has_seen_is_none_at_its_end(tmp_path: Path) -> None:
    assert drift(tmp_path, plant("broke early")).severity == "info"


def test_another_operating_point_is_no_drift_of_the_process(tmp_path: Path) -> None:
    result = drift(tmp_path, plant("steady", moved=True))
    assert result.severity == "warning"
    assert "it holds states and actions unlike those before" in result.meaning
    assert result.evidence["share_of_like_states"] < 0.05


@pytest.mark.parametrize(
    ("fault", "feature", "least"),
    [
        ("d00", None, 0),  # no fault
        ("d04", "x8", 2),  # inlet temperature of the reactor's cooling water: measured as the reactor's temperature
        ("d11", "x8", 4),  # the same, at random
        ("d14", "x20", 15),  # the reactor's cooling valve sticks: temperature of the cooling water's outlet
    ],
)
def test_faults_of_the_tennessee_eastman_process(
    fault: str, feature: str | None, least: float, shared_data: Path, tmp_path: Path
) -> None:
    """Normal operation, then a fault from row 161 of the last file on, for the last fifth of the log."""
    folder = shared_data / "real/tennessee-eastman"
    if not folder.is_dir():
        pytest.skip("no Tennessee Eastman logs in OFFLINE_RL_DATA")
    files = [np.loadtxt(folder / "d00.dat").T, np.loadtxt(folder / "d00_te.dat")]
    files.append(np.loadtxt(folder / f"{fault}_te.dat")[: 160 + 365])
    moves = np.ptp(np.concatenate(files)[:, 41:], axis=0) > 0
    episodes = [Episode({"state": f[:, :41]}, f[:-1, 41:][:, moves], np.zeros(len(f) - 1), False) for f in files]
    result = drift(tmp_path, episodes)
    if feature is None:
        assert result.severity == "info"
    else:
        assert (result.severity, result.evidence["feature"]) == ("warning", feature)
        assert result.evidence["error_ratio"] > least
        assert result.meaning.startswith("The process drifts: ")
