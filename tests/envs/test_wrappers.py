"""Tasks as images and with hidden entries: what is seen, what is told beside it, and when episodes end."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from dial import DIAL_SIDE, DIAL_STEPS
from gymnasium.spaces import Box, Dict

from pipeline.envs.distractors import shrink
from pipeline.envs.registration import chain, make
from pipeline.evaluation.episodes import ArrayAgent, run_episodes

PIXELS, MASKED = "pipeline.envs.wrappers:Pixels-v0", "pipeline.envs.wrappers:Masked-v0"
ACTION = np.array([0.5], np.float32)


def pixels(**kwargs: Any) -> gymnasium.Env[Any, Any]:
    return make(PIXELS, {"env_id": "Dial-v0", "size": 32, **kwargs})


def frames(env: gymnasium.Env[Any, Any], seed: int, steps: int = 4) -> np.ndarray:
    return np.stack([env.reset(seed=seed)[0]["pixels"]] + [env.step(ACTION)[0]["pixels"] for _ in range(steps)])


def means(t: int, size: int) -> np.ndarray:
    """The area means of the dial's frame, from its formula."""
    ratio = DIAL_SIDE // size
    image = np.zeros((size, size, 3), np.uint8)
    image[..., 0] = 2 * ratio * np.arange(size) + ratio - 1
    image[..., 1] = 10 * t
    return image


def test_each_pixel_is_the_mean_of_the_area_it_covers() -> None:
    seen = frames(pixels(), seed=3)
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen, [means(t, 32) for t in range(5)])


def test_the_tasks_own_observation_is_told_beside_the_image() -> None:
    env = pixels(state=True)
    for obs, info in (env.reset(seed=3), (lambda s: (s[0], s[4]))(env.step(ACTION))):
        assert env.observation_space.contains(obs)
        np.testing.assert_array_equal(obs["state"], info["state"])
    assert obs["state"][:2].tolist() == [1.0, 0.5]
    assert list(pixels().reset(seed=0)[0]) == ["pixels"]


def test_time_limit_of_the_task_holds_and_is_known() -> None:
    env = pixels()
    env.reset(seed=0)
    assert [env.step(ACTION)[3] for _ in range(DIAL_STEPS)] == [False] * (DIAL_STEPS - 1) + [True]
    assert env.spec is not None
    assert env.spec.max_episode_steps == DIAL_STEPS
    assert make(MASKED, {"env_id": "Pendulum-v1", "keep": [0]}).spec.max_episode_steps == 200  # type: ignore[union-attr]
    short = make(PIXELS, {"env_id": "Dial-v0"}, max_steps=2)
    short.reset(seed=0)
    assert [short.step(ACTION)[3] for _ in range(2)] == [False, True]


def test_noise_border_is_new_each_step_and_leaves_the_task_in_the_middle() -> None:
    first, again, other = (frames(pixels(distractor="noise_border"), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first[:, 4:28, 4:28], [means(t, 24) for t in range(5)])
    np.testing.assert_array_equal(first, again)
    for a, b in [(first[0], first[1]), (first[0], other[0])]:
        assert (a[:4] != b[:4]).mean() > 0.9
        assert (a[:, -4:] != b[:, -4:]).mean() > 0.9


def test_background_moves_slowly_behind_the_task() -> None:
    plain = frames(pixels(env_kwargs={"block": True}), seed=3)
    first, again, other = (
        frames(pixels(env_kwargs={"block": True}, distractor="background"), seed) for seed in (3, 3, 4)
    )
    task = (plain[0] == 200).all(axis=-1)  # the block covers a quarter of the frame, in whole pixels
    assert task.sum() == 32 * 32 / 4
    np.testing.assert_array_equal(first[:, task], plain[:, task])
    change = np.abs(np.diff(first.astype(int), axis=0))[:, ~task]
    assert 0 < change.max() <= 10  # an amplitude of 64 at 0.15 radians a step
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other)[:, ~task].mean() > 5


def test_distractors_do_not_change_the_task() -> None:
    states = []
    for distractor in (None, "noise_border", "background"):
        env = pixels(state=True, distractor=distractor)
        states.append([env.reset(seed=5)[0]["state"]] + [env.step(ACTION)[0]["state"] for _ in range(4)])
    np.testing.assert_array_equal(states[0], states[1])
    np.testing.assert_array_equal(states[0], states[2])


def test_masked_keeps_the_chosen_entries() -> None:
    env, plain = make(MASKED, {"env_id": "Pendulum-v1", "keep": [2, 0]}), gymnasium.make("Pendulum-v1")
    (obs, info), (expected, _) = env.reset(seed=1), plain.reset(seed=1)
    for _ in range(3):
        np.testing.assert_array_equal(obs, expected[[2, 0]])
        np.testing.assert_array_equal(info["state"], expected)
        obs, _, _, _, info = env.step(ACTION)
        expected = plain.step(ACTION)[0]
    assert env.observation_space == Box(np.array([-8, -1], np.float32), np.array([8, 1], np.float32))


def test_images_of_a_masked_task_tell_the_whole_state_to_behaviors_alone() -> None:
    inner = {"env_id": MASKED, "env_kwargs": {"env_id": "Dial-v0", "keep": [1]}}
    obs, info = make(PIXELS, {**inner, "state": True}).reset(seed=0)
    assert (obs["state"].shape, info["state"].shape) == ((1,), (3,))
    assert chain(PIXELS, inner) == ["Pixels-v0", "Masked-v0", "Dial-v0"]
    assert chain("Dial-v0", {"env_id": "Pendulum-v1"}) == ["Dial-v0"]
    assert chain(None, {}) == []


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        (PIXELS, {"size": 16}, "size 16 must lie between 32 and 128"),
        (PIXELS, {"distractor": "video"}, "distractor `video` must be one of noise_border, background"),
        (PIXELS, {"env_kwargs": {"blind": True}}, "renders no rgb_array; choose another env_id"),
        (PIXELS, {"env_kwargs": {"dark": True}}, "cannot be drawn here: no screen; without a screen, MuJoCo needs"),
        (PIXELS, {"env_id": PIXELS, "env_kwargs": {"env_id": "Dial-v0"}, "state": True}, "needs a task with a vector"),
        (MASKED, {"keep": [3]}, r"keep \[3\] must list some of the entries 0 to 2"),
        (MASKED, {"keep": [1, 1]}, "each once"),
        (MASKED, {"keep": []}, "must list some"),
        (MASKED, {"keep": [0], "env_id": PIXELS, "env_kwargs": {"env_id": "Dial-v0"}}, "needs a task with a vector"),
    ],
)
def test_tasks_that_cannot_be_shown(env_id: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make(env_id, {"env_id": "Dial-v0", **kwargs})
    assert "\n" not in str(caught.value)


class Agent(ArrayAgent):
    """Checks what it is shown, by the formula of the frames."""

    def __init__(self, **facts: int) -> None:
        vars(self).update(facts)

    def reset(self, episodes: int) -> None:
        self.episodes, self.t = episodes, 0

    def act(self, obs: dict[str, np.ndarray]) -> np.ndarray:
        assert set(obs) == {"pixels", "state"}
        assert obs["pixels"].shape == (self.episodes, 32, 32, 3)
        assert (obs["state"][:, 0] == self.t).all()
        np.testing.assert_array_equal(obs["pixels"][0], means(self.t, 32))
        self.t += 1
        return np.full((self.episodes, 1), 0.25)


def test_agents_are_evaluated_on_batches_of_named_observations() -> None:
    kwargs = {"env_id": "Dial-v0", "size": 32, "state": True}
    results = run_episodes(
        Agent(obs_dim=32 * 32 * 3 + 3, action_dim=1), PIXELS, kwargs, episodes=3, seed=0, env_batch=3
    )
    assert results.lengths.tolist() == [DIAL_STEPS] * 3
    assert results.returns.tolist() == [0.25 * DIAL_STEPS] * 3
    with pytest.raises(ValueError, match="obs has 3075 values, the agent expects 3"):
        run_episodes(Agent(obs_dim=3), PIXELS, kwargs, episodes=1, seed=0)
    assert run_episodes(Agent(), PIXELS, kwargs, episodes=1, seed=0, max_steps=2).lengths.tolist() == [2]


def test_gymnasium_itself_makes_them_by_id() -> None:
    env = gymnasium.make(PIXELS, env_id="Dial-v0", size=40)
    assert env.observation_space == Dict({"pixels": Box(0, 255, (40, 40, 3), np.uint8)})


def test_pendulum_is_drawn_small_and_fast_but_looks_the_same() -> None:
    pygame = pytest.importorskip("pygame")
    load = pygame.image.load
    env, other = (make(PIXELS, {"env_id": "Pendulum-v1", "size": 32}) for _ in range(2))
    whole = gymnasium.make("Pendulum-v1", render_mode="rgb_array")
    env.reset(seed=2)
    whole.reset(seed=2)
    other.close()  # leaves pygame usable for those that are still open
    large = make(PIXELS, {"env_id": "Pendulum-v1", "size": 64})
    large.reset(seed=2)
    for torque in (2.0, -1.0, 0.5):
        obs = env.step(np.array([torque], np.float32))[0]["pixels"]
        whole.step(np.array([torque], np.float32))
        expected = shrink(whole.render(), 32)  # type: ignore[arg-type]
        assert (expected != 255).any(axis=-1).sum() > 15
        assert np.abs(obs.astype(int) - expected).mean() < 1.5
        twice = large.step(np.array([torque], np.float32))[0]["pixels"]
        assert np.abs(twice.astype(int) - shrink(whole.render(), 64)).mean() < 1.5  # type: ignore[arg-type]
    assert pygame.image.load is load
