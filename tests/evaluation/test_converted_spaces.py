"""Policies that learned from converted spaces act in the environment that the log names."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from minari_logs import ingest, record

from pipeline import api
from pipeline.evaluation.episodes import run_episodes

TRAINER = api.TrainerConfig(accelerator="cpu", threads=1)


@pytest.mark.parametrize(
    ("env_id", "added", "options"),
    [
        ("valves:Valves-v0", [], {}),
        ("valves:Valves-v0", [lambda env: wrappers.ClipReward(env, 0, 5)], {"action_kind": "continuous"}),
        ("valves:Stack-v0", [], {}),
        ("Pendulum-v1", [wrappers.TimeAwareObservation, lambda env: wrappers.RescaleAction(env, -0.5, 0.5)], {}),
    ],
)
@pytest.mark.usefixtures("valves_allowed")
def test_a_policy_acts_in_the_environment_of_its_log(
    env_id: str, added: list[Any], options: dict[str, str], tmp_path: Path
) -> None:
    env = gymnasium.make(env_id, max_episode_steps=6)
    for wrapper in added:
        env = wrapper(env)
    dataset = ingest(tmp_path / "d", **record(tmp_path / "m", env, episodes=5), **options)
    agent = api.learn_baseline(dataset, "bc", trainer=TRAINER, progress=False, updates=5, hidden=[8], image_depth=2)
    api.save_policy(tmp_path / "bundle", agent)
    again = api.load_agent(tmp_path / "bundle")
    spec = again.spec
    results = run_episodes(again, spec.env_id, spec.env_kwargs, episodes=2, seed=0)
    assert results.lengths.tolist() == [6, 6]
    assert np.isfinite(results.returns).all()
