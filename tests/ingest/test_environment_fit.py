"""The environment of a log: rebuilt with its wrappers, compared with the log, wrapped where that makes it fit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import valves
from gymnasium import wrappers
from minari_logs import Replay, ingest, record

from pipeline.data.dataset import PreparedDataset
from pipeline.envs.registration import PREPARED, REBUILT, chain
from pipeline.evaluation.episodes import run_episodes

MASKED = "pipeline.envs.wrappers:Masked-v0"


def assert_replays(dataset: PreparedDataset) -> None:
    """The actions of each logged episode give its observations and its return again, in the dataset's environment."""
    spec = dataset.spec
    assert spec.env_id is not None
    for e in range(spec.episodes):
        again = run_episodes(Replay(dataset, e), spec.env_id, spec.env_kwargs, 1, seed=e, record=True)
        rows = slice(dataset.offsets[e], dataset.offsets[e + 1])
        seen = again.recorded[0].obs
        logged = {key: np.asarray(values[rows]) for key, values in dataset.obs.items()}
        assert len(seen) == len(logged)
        for key, values in logged.items():
            np.testing.assert_allclose(seen[key if key in seen else "obs"], values, atol=1e-3)
        assert again.returns[0] == pytest.approx(dataset.episode_returns("all")[e], rel=1e-4)


def pendulum_log() -> gymnasium.Env[Any, Any]:
    return wrappers.TimeAwareObservation(wrappers.RescaleAction(gymnasium.make("Pendulum-v1"), -0.5, 0.5))


def test_recorded_wrappers_are_made_again(tmp_path: Path) -> None:
    dataset = ingest(tmp_path / "d", **record(tmp_path / "m", pendulum_log()))
    spec = dataset.spec
    assert (spec.env_id, spec.action_low, spec.action_high, spec.max_episode_steps) == (REBUILT, [-0.5], [0.5], 200)
    assert chain(spec.env_id, spec.env_kwargs) == ["Rebuilt-v0", "Pendulum-v1"]
    assert not [w for w in spec.warnings if "Pendulum" in w]
    assert_replays(dataset)


def test_another_process_makes_the_environment_from_the_spec_alone(tmp_path: Path) -> None:
    ingest(tmp_path / "d", **record(tmp_path / "m", pendulum_log()))
    spec = json.loads((tmp_path / "d" / "spec.json").read_text())
    code = "import json, sys; from pipeline.envs.registration import make; print(make(*json.loads(sys.argv[1])))"
    settings = json.dumps([spec["env_id"], spec["env_kwargs"]])
    made = subprocess.run([sys.executable, "-c", code, settings], capture_output=True, text=True, check=True)
    assert "TimeAwareObservation<RescaleAction<TimeLimit" in made.stdout


def changed_spec(root: Path, **changes: Any) -> None:
    """Change entries of the first wrapper, or of the environment, in the dataset's EnvSpec."""
    file = root / "test/log-v0/data/metadata.json"
    metadata = json.loads(file.read_text())
    spec = json.loads(metadata["env_spec"])
    target = spec["additional_wrappers"][0] if changes.pop("wrapper", False) else spec
    target |= changes
    file.write_text(json.dumps({**metadata, "env_spec": json.dumps(spec)}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"entry_point": "subprocess:Popen"}, "`subprocess` is not installed"),
        ({"wrapper": True, "entry_point": "no_such:W"}, "`no_such` is not installed"),
        ({"wrapper": True, "entry_point": "gymnasium.utils.seeding:np_random"}, "is no gymnasium.Wrapper"),
        ({"wrapper": True, "kwargs": None}, "wrapper does not inherit from"),
    ],
)
def test_what_cannot_be_rebuilt_is_left_out_with_a_warning(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    block = record(tmp_path / "m", pendulum_log())
    changed_spec(tmp_path / "m", **changes)
    spec = ingest(tmp_path / "d", **block).spec
    assert (spec.env_id, spec.env_kwargs, spec.transitions) == (None, {}, 600)
    warning = next(w for w in spec.warnings if "cannot be made" in w)
    assert reason in warning
    assert "the policy is evaluated without it" in warning


def test_an_unreadable_environment_does_not_hide_the_log(tmp_path: Path) -> None:
    block = record(tmp_path / "m", pendulum_log())
    file = tmp_path / "m/test/log-v0/data/metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "env_spec": '{"name": "Pendulum"}'}))
    spec = ingest(tmp_path / "d", **block).spec
    assert (spec.env_id, spec.transitions) == (None, 600)
    assert any(w.startswith("the log's environment is not the JSON of a Gymnasium EnvSpec") for w in spec.warnings)


@pytest.mark.parametrize(
    "changes",
    [
        {"kwargs": 5},
        {"entry_point": 5},
        {"max_episode_steps": "x"},
        {"wrapper": True, "entry_point": 5},
        {"id": 5},
        {"entry_point": "pipeline.envs.wrappers:rebuilt", "id": "Rebuilt-v0", "kwargs": {"spec": "[]"}},
        {"entry_point": "pipeline.envs.wrappers:masked", "id": "Masked-v0", "kwargs": {"env_id": 5, "env_kwargs": [1]}},
    ],
)
def test_parts_of_other_types_are_a_warning(changes: dict[str, Any], tmp_path: Path) -> None:
    block = record(tmp_path / "m", pendulum_log())
    changed_spec(tmp_path / "m", **changes)
    spec = ingest(tmp_path / "d", **block).spec
    assert (spec.env_id, spec.transitions) == (None, 600)
    assert any("EnvSpec" in w or "cannot be made" in w for w in spec.warnings)


def test_no_film_is_written_where_a_log_names(tmp_path: Path) -> None:
    block = record(tmp_path / "m", wrappers.RescaleAction(pendulum_log(), -0.5, 0.5))
    film = {"entry_point": "gymnasium.wrappers:RecordVideo", "kwargs": {"video_folder": str(tmp_path / "film")}}
    changed_spec(tmp_path / "m", kwargs={"render_mode": "rgb_array"})
    file = tmp_path / "m/test/log-v0/data/metadata.json"
    metadata = json.loads(file.read_text())
    spec = json.loads(metadata["env_spec"])
    spec["additional_wrappers"].append({"name": "RecordVideo", **film})
    file.write_text(json.dumps({**metadata, "env_spec": json.dumps(spec)}))
    made = ingest(tmp_path / "d", **block).spec
    assert chain(made.env_id, made.env_kwargs) == ["Rebuilt-v0", "Pendulum-v1"]
    assert "RecordVideo" not in str(made.env_kwargs)
    assert not (tmp_path / "film").exists()


def test_the_environment_is_read_as_gymnasium_wrote_it_before(tmp_path: Path) -> None:
    block = record(tmp_path / "m", pendulum_log())
    file = tmp_path / "m/test/log-v0/data/metadata.json"
    metadata = json.loads(file.read_text())
    spec = json.loads(metadata["env_spec"])
    spec |= {"applied_wrappers": spec.pop("additional_wrappers"), "autoreset": False, "apply_api_compatibility": False}
    file.write_text(json.dumps({**metadata, "env_spec": json.dumps(spec)}))
    assert_replays(ingest(tmp_path / "d", **block))


def test_code_of_the_working_folder_is_not_run_for_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = record(tmp_path / "m", pendulum_log())
    (tmp_path / "planted.py").write_text("raise RuntimeError('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for changes in (
        {"wrapper": True, "entry_point": "planted:W"},
        {"entry_point": "planted:E", "additional_wrappers": []},
    ):
        changed_spec(tmp_path / "m", **changes)
        warnings = ingest(tmp_path / "d", **block).spec.warnings
        assert any("`planted` lies in the working folder, whose code no environment may run" in w for w in warnings)


@pytest.mark.parametrize("wrapped", [False, True])
def test_nor_through_an_environment_of_this_project(
    wrapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = gymnasium.make(PREPARED, env_id="Pendulum-v1")
    block = record(tmp_path / "m", wrappers.TimeAwareObservation(env) if wrapped else env)
    (tmp_path / "planted.py").write_text("raise RuntimeError('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    changed_spec(tmp_path / "m", kwargs={"env_id": "planted:E-v0"})
    warnings = ingest(tmp_path / "d", **block).spec.warnings
    assert any("`planted` lies in the working folder, whose code no environment may run" in w for w in warnings)


def test_none_is_no_environment(tmp_path: Path) -> None:
    block = record(tmp_path / "m", pendulum_log())
    spec = ingest(tmp_path / "d", **block, env_id="None").spec
    assert (spec.env_id, spec.env_kwargs) == (None, {})
    with pytest.raises(ValueError, match="env_id: collect needs an environment"):
        ingest(tmp_path / "e", source="collect", path="data/logs", env_id="none")


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.usefixtures("valves_allowed")
def test_every_kind_of_space_is_logged_and_acted_in(binary: bool, tmp_path: Path) -> None:
    block = record(tmp_path / "m", gymnasium.make("valves:Valves-v0", binary=binary))
    dataset = ingest(tmp_path / "d", **block)
    spec = dataset.spec
    assert (spec.env_id, spec.env_kwargs["env_id"]) == (PREPARED, "valves:Valves-v0")
    assert spec.obs_shapes == {"level": [2], "mode": [3], "alarms": [2], "past.0": [7], "past.1": [1]}
    assert spec.obs_names["mode"] == ["mode=1", "mode=2", "mode=3"]
    assert spec.obs_names["past.0"][2:4] == ["past.0[0]=2", "past.0[1]=0"]
    assert (spec.action_kind, spec.action_dim, spec.max_episode_steps) == ("discrete", 4 if binary else 12, 6)
    np.testing.assert_array_equal(dataset.obs["mode"][:4], np.eye(3)[[0, 1, 2, 0]])
    assert_replays(dataset)


@pytest.mark.usefixtures("valves_allowed")
def test_an_environment_shows_the_observations_that_are_read(tmp_path: Path) -> None:
    block = record(tmp_path / "m", gymnasium.make("valves:Valves-v0"))
    dataset = ingest(tmp_path / "d", **block, obs_keys=["past.1", "level"])
    assert dataset.spec.obs_shapes == {"level": [2], "past.1": [1]}
    assert dataset.spec.env_kwargs["keys"] == ["past.1", "level"]
    assert_replays(dataset)


@pytest.mark.usefixtures("valves_allowed")
def test_too_many_combinations_are_read_as_amounts_if_params_say_so(tmp_path: Path) -> None:
    block = record(tmp_path / "m", gymnasium.make("valves:Valves-v0"))
    dataset = ingest(tmp_path / "d", **block, action_kind="continuous")
    assert (dataset.spec.action_low, dataset.spec.action_high) == ([0, 0], [2, 3])
    assert dataset.spec.env_kwargs["amounts"] is True
    assert_replays(dataset)


@pytest.mark.usefixtures("valves_allowed")
def test_stacked_frames_are_seen_as_in_the_log(tmp_path: Path) -> None:
    dataset = ingest(tmp_path / "d", **record(tmp_path / "m", gymnasium.make("valves:Stack-v0")))
    assert dataset.spec.obs_shapes == {"pixels": [32, 32, 2]}
    assert dataset.obs["pixels"][3, 5, 7].tolist() == [20, 30]
    assert (dataset.spec.env_id, dataset.spec.env_kwargs["env_id"]) == (PREPARED, "valves:Stack-v0")
    assert_replays(dataset)


def flat_log(file: Path, env: gymnasium.Env[Any, Any], features: Any) -> dict[str, Any]:
    """A table of the env's flattened observations; the block of params.yaml that reads it."""
    lines = [",".join(["run", *features, "action", "reward"])]
    for e in range(3):
        obs, _ = env.reset(seed=e)
        env.action_space.seed(e)
        for _ in range(5):
            action = env.action_space.sample()
            seen = ",".join(f"{x:.9g}" for x in gymnasium.spaces.flatten(env.observation_space, obs))
            obs, reward, *_ = env.step(action)
            lines.append(f"{e},{seen},{float(action[0]):.9g},{float(reward):.9g}")
        seen = ",".join(f"{x:.9g}" for x in gymnasium.spaces.flatten(env.observation_space, obs))
        lines.append(f"{e},{seen},,")
    file.write_text("\n".join(lines) + "\n")
    columns = {"obs_columns": list(features), "action_columns": ["action"], "terminal_column": None}
    return {"source": "table", "path": str(file), "episode_column": "run", "reward_column": "reward", **columns}


class Rail(gymnasium.Env[Any, Any]):
    """Dict observations; needs an argument."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    observation_space = gymnasium.spaces.Dict(
        {"pos": gymnasium.spaces.Box(-9, 9, (1,), np.float32), "vel": gymnasium.spaces.Box(-9, 9, (1,), np.float32)}
    )

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self.np_random.normal(size=2).astype(np.float32)
        return self._obs(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state = self.state @ np.array([[1, 0], [0.1, 0.9]], np.float32) + [0, self.gain * action[0]]
        return self._obs(), float(-(self.state**2).sum()), False, False, {}

    def _obs(self) -> dict[str, Any]:
        return {"pos": self.state[:1].astype(np.float32), "vel": self.state[1:].astype(np.float32)}


@pytest.fixture
def rail() -> Any:
    gymnasium.register("Rail-v0", entry_point=Rail, max_episode_steps=5)
    yield {"env_id": "Rail-v0", "env_kwargs": {"gain": 0.5}}
    del gymnasium.registry["Rail-v0"]


def test_dict_observations_are_flattened_for_a_log_of_one_vector(rail: Any, tmp_path: Path) -> None:
    block = flat_log(tmp_path / "log.csv", Rail(0.5), ["pos", "vel"])
    dataset = ingest(tmp_path / "d", **block, **rail)
    assert dataset.spec.env_id == PREPARED
    assert dataset.spec.env_kwargs == {**rail, "flatten": True}
    assert any("one vector in the order pos, vel" in w for w in dataset.spec.warnings)
    assert_replays(dataset)


def test_misfits_of_params_are_refused_with_a_fix(rail: Any, tmp_path: Path) -> None:
    block = flat_log(tmp_path / "log.csv", Rail(0.5), ["pos", "vel"])
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {**rail, "obs_columns": ["vel", "pos"]},
            "order the observations of the log (`dataset.obs_columns`) as pos, vel",
        ),
        ({**rail, "obs_columns": ["pos"]}, "the log has observations state [1], Rail-v0 has pos [1], vel [1]; correct"),
        ({"env_id": "Rail-v0"}, "missing 1 required positional argument: 'gain'; correct `dataset.env_kwargs`"),
        ({**rail, "action_columns": ["action", "reward"]}, "the log has 2 numbers for an action, Rail-v0 takes 1"),
        ({"env_id": "no_such_package:Rail-v0"}, "`no_such_package` is not installed; correct it, or install its"),
        ({"env_id": "CartPole-v1"}, "or set `dataset.env_id: none`"),
    ]
    for options, expected in cases:
        with pytest.raises(ValueError) as caught:
            ingest(tmp_path / "d", **{**block, **options})
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_time_limit_is_that_of_the_log(tmp_path: Path) -> None:
    dataset = ingest(
        tmp_path / "d", **record(tmp_path / "m", gymnasium.make("Pendulum-v1", max_episode_steps=30, g=5.0))
    )
    assert dataset.spec.env_kwargs == {"g": 5.0, "max_episode_steps": 30}
    assert_replays(dataset)


@pytest.mark.usefixtures("valves_allowed")
def test_wrapped_and_converted_at_once(tmp_path: Path) -> None:
    env = wrappers.ClipReward(gymnasium.make("valves:Valves-v0"), 0, 5)
    dataset = ingest(tmp_path / "d", **record(tmp_path / "m", env))
    assert chain(dataset.spec.env_id, dataset.spec.env_kwargs) == ["Prepared-v0", "Rebuilt-v0", "Valves-v0"]
    assert dataset.reward.max() == 5
    assert_replays(dataset)


def test_ids_of_this_project_keep_their_own_wrappers_and_take_others(tmp_path: Path) -> None:
    env = gymnasium.make("pipeline.envs.wrappers:Masked-v0", env_id="Pendulum-v1", keep=[0, 2])
    spec = ingest(tmp_path / "d", **record(tmp_path / "m", env, episodes=2)).spec
    assert (spec.env_id, spec.env_kwargs) == (MASKED, {"env_id": "Pendulum-v1", "keep": [0, 2]})
    env = wrappers.TimeAwareObservation(env)
    dataset = ingest(tmp_path / "e", **record(tmp_path / "n", env, episodes=2))
    assert (dataset.spec.env_id, dataset.spec.obs_shapes) == (REBUILT, {"state": [3]})
    assert_replays(dataset)


def test_running_statistics_are_lost_with_a_warning(tmp_path: Path) -> None:
    env = wrappers.NormalizeObservation(gymnasium.make("Pendulum-v1", max_episode_steps=5))
    warnings = ingest(tmp_path / "d", **record(tmp_path / "m", env)).spec.warnings
    assert any(w.startswith("the log lacks the running statistics of NormalizeObservation") for w in warnings)


def test_an_environment_without_a_time_limit_is_a_warning(tmp_path: Path) -> None:
    gymnasium.register("EndlessRail-v0", entry_point=Rail)
    block = flat_log(tmp_path / "log.csv", Rail(0.5), ["pos", "vel"])
    spec = ingest(tmp_path / "d", **block, env_id="EndlessRail-v0", env_kwargs={"gain": 0.5}).spec
    assert "EndlessRail-v0 has no time limit: set `evaluation.max_steps`" in spec.warnings


@pytest.mark.usefixtures("valves_allowed")
def test_tasks_with_numbered_states_can_be_collected(tmp_path: Path) -> None:
    behaviors = [{"name": "random"}]
    block = {"source": "collect", "path": "data/logs", "behaviors": behaviors, "episodes": 3}
    spec = ingest(tmp_path / "d", **block, env_id="FrozenLake-v1").spec
    assert spec.obs_names["state"][:2] == ["state=0", "state=1"]
    assert (spec.env_id, spec.env_kwargs["env_id"]) == (PREPARED, "FrozenLake-v1")
    with pytest.raises(ValueError, match=f"set `dataset.env_id: {PREPARED}` with .*env_id: valves:Valves-v0"):
        ingest(tmp_path / "e", **block, env_id="valves:Valves-v0")
    wrapped = {"env_id": PREPARED, "env_kwargs": {"env_id": "valves:Valves-v0"}}
    spec = ingest(tmp_path / "f", **block, **wrapped).spec
    assert (spec.env_id, spec.env_kwargs, spec.action_dim) == (*wrapped.values(), 12)


def test_other_bounds_of_actions_are_a_warning(tmp_path: Path) -> None:
    block = record(tmp_path / "m", wrappers.RescaleAction(gymnasium.make("Pendulum-v1"), -1, 1))
    warnings = ingest(tmp_path / "d", **block, env_id="Pendulum-v1").spec.warnings
    expected = "the bounds of actions differ: [-1] to [1] in the log, [-2] to [2] in Pendulum-v1"
    assert any(w.startswith(expected) for w in warnings)


def test_an_environment_that_the_log_names_and_that_does_not_fit_is_left_out(tmp_path: Path) -> None:
    block = record(tmp_path / "m", wrappers.TimeAwareObservation(gymnasium.make("Pendulum-v1")))
    changed_spec(tmp_path / "m", additional_wrappers=[])
    spec = ingest(tmp_path / "d", **block).spec
    assert spec.env_id is None
    reason = "Pendulum-v1 does not fit (the log has observations state [4], Pendulum-v1 has state [3])"
    assert any(w.startswith(reason) for w in spec.warnings)


def test_functions_are_compared_with_their_environment_too(tmp_path: Path) -> None:
    file = tmp_path / "logs.py"
    file.write_text("")
    assert valves.STEPS == 6
    from pipeline.api import ingest_episodes
    from pipeline.data.episode import Episode

    log = [Episode({"state": np.zeros((3, 2))}, np.array([[0.5], [-0.5]]), np.zeros(2), False) for _ in range(2)]
    with pytest.raises(ValueError, match=r"the log has observations state \[2\], Pendulum-v1 has state \[3\]"):
        ingest_episodes(tmp_path / "d", log, env_id="Pendulum-v1")
