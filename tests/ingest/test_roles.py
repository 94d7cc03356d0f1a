"""Exogenous features, their forecasts and the flags of measured values."""

import numpy as np
import pytest

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.roles import apply_roles, exogenous_features, flagged_features
from pipeline.ingest.writer import write_dataset


def log(**fields: object) -> LoggedData:
    episodes = []
    for e in range(3):
        time = np.arange(6.0) + 10 * e
        obs = np.stack([time, -time], axis=1)
        episodes.append(Episode({"state": obs}, np.linspace(-1, 1, 5)[:, None], np.ones(5), False, cost=obs[:5, :1]))
    return LoggedData("log", "test", episodes, obs_names={"state": ["room", "weather"]}, **fields)


def test_a_forecast_is_the_future_of_its_feature():
    logged = apply_roles(log(), ["weather"], 2)
    episode = list(logged.episodes)[1]
    assert logged.obs_names["state"] == ["room", "weather", "weather[+1]", "weather[+2]"]
    assert logged.exogenous == ["weather", "weather[+1]", "weather[+2]"]
    np.testing.assert_array_equal(episode.obs["state"][:, 2], [-11, -12, -13, -14, -15, -15])
    np.testing.assert_array_equal(episode.obs["state"][:, 3], [-12, -13, -14, -15, -15, -15])


def test_an_unknown_feature_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"no feature `wether`; did you mean `weather`|exogenous_columns"):
        apply_roles(log(), ["wether"], 0)


def test_roles_are_stored_by_index(tmp_path):
    roles = apply_roles(log(flags={"room": "weather"}, cost_names=["wear"]), ["weather"], 0)
    dataset = write_dataset(tmp_path / "data", roles, "name", 0.4, 0)
    assert dataset.spec.exogenous == {"state": [1]}
    assert dataset.spec.flags == {"state": {0: 1}}
    assert dataset.spec.cost_names == ["wear"]
    cost = np.load(tmp_path / "data" / "cost.npy")
    np.testing.assert_array_equal(cost[:6, 0], [0, 1, 2, 3, 4, 0])


def test_without_roles_a_log_is_left_alone():
    logged = log()
    assert apply_roles(logged, [], 0) is logged
    assert exogenous_features([], {"state": ["a"]}) == {}
    assert flagged_features({}, {"state": ["a"]}) == {}
