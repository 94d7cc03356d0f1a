"""The film of one real episode, drawn in a process of its own."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import hidden_velocity

from pipeline.data.spec import DatasetSpec
from pipeline.evaluation import EvaluationConfig, film
from pipeline.evaluation.drawing import draw
from pipeline.evaluation.episodes import run_episodes
from pipeline.evaluation.film import film_of
from pipeline.ingest.writer import write_dataset
from pipeline.serving.agent import RandomAgent

SHORT = EvaluationConfig(max_steps=12, seed=7)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> DatasetSpec:
    made = write_dataset(tmp_path_factory.mktemp("film") / "line", hidden_velocity(12), "line", 0.2, 0).spec
    return replace(made, env_id="Pendulum-v1", action_dim=1, action_low=[-2.0], action_high=[2.0])


def test_the_film_shows_the_first_episode_of_the_evaluation(spec: DatasetSpec) -> None:
    ran = run_episodes(RandomAgent(spec, 0), "Pendulum-v1", {}, 1, 7, max_steps=12, record=True)
    made = film_of(RandomAgent(spec, 0), spec, SHORT)
    assert made["frames"].shape == (13, 200, 200, 3)
    assert made["frames"].dtype == np.uint8
    assert (made["steps"], made["episode_return"]) == (12, ran.returns[0])
    again = film_of(RandomAgent(spec, 0), spec, SHORT)
    assert (made["frames"] == again["frames"]).all()
    other = film_of(RandomAgent(spec, 0), spec, replace(SHORT, seed=8))
    assert (made["frames"][0] != other["frames"][0]).any()


def test_long_episodes_have_evenly_spaced_frames_of_small_size() -> None:
    frames = draw("MountainCarContinuous-v0", {}, np.zeros((250, 1), np.float32), 0, None)
    assert frames.shape == (100, 133, 200, 3)


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [("pipeline.envs.wrappers:HeatedRoom-v0", "render_mode"), ("Pendulum-v1", "the renderer ended with -9")],
)
def test_what_cannot_be_drawn_says_why(
    spec: DatasetSpec, env_id: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "ended" in reason:
        killed = subprocess.CompletedProcess([], -9, "", "")
        monkeypatch.setattr(film.subprocess, "run", lambda *_, **__: killed)
    with pytest.raises(ValueError, match=f"{env_id} cannot be drawn here: .*{reason}") as error:
        film._drawn({"env_id": env_id, "env_kwargs": {}, "seed": 0, "max_steps": None}, np.zeros((2, 1), np.float32))
    assert "\n" not in str(error.value)


def test_a_renderer_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film, "SECONDS", 0.01)
    with pytest.raises(ValueError, match=r"drawing Pendulum-v1 took more than 0\.01 seconds"):
        film._drawn({"env_id": "Pendulum-v1", "env_kwargs": {}, "seed": 0, "max_steps": None}, np.zeros((2, 1)))


def test_the_stage_says_that_there_is_no_film(
    spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pipeline.stages import evaluate

    def failing(*_: Any) -> None:
        raise ValueError("no screen")

    agent: Any = RandomAgent(spec, 0)
    assert evaluate._film(agent, spec, SHORT, tmp_path) == "film of the policy: data/returns/film.npz"
    assert (tmp_path / evaluate.FILM.name).exists()
    monkeypatch.setattr(evaluate, "film_of", failing)
    assert evaluate._film(agent, spec, SHORT, tmp_path) == "no film of the policy: no screen"
