"""The equations of cart-pole swing-up against a step worked by hand and against every logged transition."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.envs import cartpole
from pipeline.envs.registration import make

ID = "pipeline.envs.wrappers:CartPoleSwingUp-v0"


def test_a_step_worked_by_hand() -> None:
    # Upright and still but for the cart, a quarter of the force: push = 2.5 / 1.1 = 25/11, cos = 1, sin = 0,
    # turn = -(25/11) / (0.5 (4/3 - 1/11)) = -150/41 and slide = 25/11 + (0.05 / 1.1) 150/41 = 100/41.
    after = cartpole.step([[1.0, -np.pi, 0.5, 0.0]], [[0.25]])
    np.testing.assert_allclose(after, [[1.01, -np.pi, 0.5 + 2 / 41, -3 / 41]], atol=1e-12)
    # Level: cos = 0, gravity alone turns the pole, 9.8 / (0.5 * 4/3) = 14.7; its spin pulls the cart by 0.05 * 4 / 1.1.
    after = cartpole.step([[0.0, np.pi / 2, 0.0, 2.0]], [[0.0]])
    np.testing.assert_allclose(after, [[0, np.pi / 2 + 0.04, -0.02 * 0.2 / 1.1, 2 - 0.02 * 14.7]], atol=1e-12)


def test_the_angle_wraps_and_actions_are_clipped() -> None:
    high = cartpole.step([[0.0, 3.14, 0.0, 5.0]], [[3.0]])
    assert high[0, 1] == pytest.approx(3.14 + 0.1 - 2 * np.pi)
    np.testing.assert_array_equal(high, cartpole.step([[0.0, 3.14, 0.0, 5.0]], [[1.0]]))


def test_reward_and_end() -> None:
    states = np.array([[0, 0, 0, 0], [10, np.pi / 2, 0, 0], [-10.01, -np.pi, 0, 0]])
    np.testing.assert_allclose(cartpole.reward(states), [0, 0.5, 1])
    assert cartpole.terminal(states).tolist() == [False, False, True]


def test_the_environment_is_the_equations_and_a_time_limit() -> None:
    env = make(ID, {})
    state, _ = env.reset(seed=3)
    assert np.abs(state).max() <= cartpole.STARTS
    assert np.array_equal(state, env.reset(seed=3)[0])
    expected = cartpole.step(state, [0.5])
    after, reward, ended, cut, _ = env.step(np.array([0.5], np.float32))
    np.testing.assert_allclose(after, expected, atol=1e-6)
    assert (reward, ended, cut) == (pytest.approx(float(cartpole.reward(expected))), False, False)
    ends = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(cartpole.STEPS - 1)]
    assert ends == [(False, False)] * (cartpole.STEPS - 2) + [(False, True)]


def test_the_cart_leaves_the_track() -> None:
    env = make(ID, {})
    env.reset(seed=0)
    for _ in range(cartpole.STEPS):
        obs, _, ended, cut, _ = env.step(np.ones(1, np.float32))
        if ended or cut:
            break
    assert ended
    assert not cut
    assert obs[0] > cartpole.TRACK


def test_it_replays_every_logged_transition(shared_data: Path) -> None:
    with h5py.File(shared_data / "emei/cartpole-swingup-sac-medium-replay.h5") as file:
        logs = {key: np.asarray(file[key]) for key in file}
    after = cartpole.step(logs["observations"], logs["actions"])
    error = after - logs["next_observations"]
    error[:, 1] = cartpole.wrapped(error[:, 1])
    assert np.abs(error).max() < 1e-5
    assert np.abs(cartpole.reward(logs["next_observations"]) - logs["rewards"]).max() < 1e-6
    done, cut = logs["dones"].astype(bool), logs["timeouts"].astype(bool)
    np.testing.assert_array_equal(cartpole.terminal(logs["next_observations"]), done & ~cut)
    ends = np.flatnonzero(done)
    lengths, starts = np.diff(ends, prepend=-1), logs["observations"][np.append(0, ends + 1)]
    assert lengths[cut[ends]].tolist() == [cartpole.STEPS] * 59
    assert lengths.max() == cartpole.STEPS
    assert 0.9 * cartpole.STARTS < np.abs(starts).max() <= cartpole.STARTS
