"""The heated room against the equations of heat flow."""

import gymnasium
import numpy as np
import pytest

import pipeline.envs.wrappers  # noqa: F401  # registers the id
from pipeline.envs import heated_room
from pipeline.envs.heated_room import AIR_TO_OUTDOOR, AIR_TO_WALL, WALL_TO_OUTDOOR, Day, reward, step


def test_a_steady_state_stays():
    """Without a change of temperature, what the heater gives flows out through air and wall."""
    outdoor, power = -5.0, 2.0
    wall_share = 1 / (AIR_TO_WALL + WALL_TO_OUTDOOR)
    excess = power / (1 / AIR_TO_OUTDOOR + wall_share)
    air, wall = outdoor + excess, outdoor + excess * WALL_TO_OUTDOOR * wall_share
    assert step(air, wall, outdoor, 0.0, power) == pytest.approx((air, wall))
    assert step(air, wall, outdoor, 0.5, power)[0] > air


def test_energy_and_discomfort_cost():
    assert reward(22.0, 21.0, 0.4, 2.0) == pytest.approx(-0.25 * 0.8)
    assert reward(19.0, 21.0, 0.4, 0.0) == pytest.approx(-0.25 * 0.5 * 4)
    assert reward(26.0, 21.0, 0.4, 0.0) == pytest.approx(-0.25 * 0.5 * 4)


def test_a_forecast_is_what_comes():
    env = gymnasium.make("HeatedRoom-v0", forecast=3)
    obs, _ = env.reset(seed=0)
    ahead = [obs["outdoor"]]
    for _ in range(3):
        obs, _, _, _, info = env.step(np.array([1.0], np.float32))
        ahead.append(obs["outdoor"])
    assert ahead[0][3] == ahead[1][2] == ahead[2][1] == ahead[3][0]
    assert info["state"].shape == (2 + 4 * 4,)


def test_days_differ_and_repeat_by_seed():
    days = [Day.draw("winter", 96, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(days[0].outdoor, days[1].outdoor)
    assert not np.array_equal(days[0].outdoor, days[2].outdoor)
    assert set(np.unique(days[0].price)) == {heated_room.CHEAP, heated_room.PEAK}
    assert days[0].sun.min() == 0


def test_an_unknown_weather_is_refused():
    with pytest.raises(ValueError, match="weather `summer` must be one of winter, spring"):
        heated_room.HeatedRoom("summer")
