"""A world model continues from a stored one: with its weights, scales and bounds, or not at all."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import HISTORY, hidden_velocity

from pipeline.data.dataset import PreparedDataset
from pipeline.data.episode import Episode
from pipeline.encoders.statistics import Statistics
from pipeline.ingest.writer import write_dataset
from pipeline.training.config import FitConfig, TrainerConfig
from pipeline.training.fit_world_model import fit_world_model
from pipeline.training.session import Session
from pipeline.training.warm_start import FAR, beyond, seed_folder
from pipeline.world_models import WORLD_MODELS
from pipeline.world_models.checkpoint import load_world_model, save_world_model
from pipeline.world_models.protocols import TrainableWorldModel
from pipeline.world_models.results import WorldModelHistory

MODELS = [*WORLD_MODELS, HISTORY]
SMALL = {"members": 2, "elites": 2, "width": 8, "depth": 1}
Change = Callable[[Episode], Episode]
FIRST = FitConfig(max_epochs=2, window=8, batch_size=64)


def logs(folder: Path, change: Change | None = None, **fields: Any) -> PreparedDataset:
    """The logs of a point on a line, after ``change`` of every episode and with other ``fields``."""
    logged = hidden_velocity(12)
    episodes = [change(episode) if change else episode for episode in logged.episodes]
    return write_dataset(folder, dataclasses.replace(logged, episodes=episodes, **fields), "line", 0.3, 0)


def shifted(by: float) -> Change:
    """Rewards and observations that are ``by`` higher."""
    return lambda e: dataclasses.replace(
        e, obs={"state": e.obs["state"] + np.float32(by)}, reward=e.reward + np.float32(by)
    )


def fitted(
    dataset: PreparedDataset,
    name: str,
    fit: FitConfig = FIRST,
    said: list[str] | None = None,
    seed: int = 0,
    **options: Any,
) -> tuple[TrainableWorldModel, WorldModelHistory]:
    model_class = WORLD_MODELS[name.removesuffix(" with history")]
    config = model_class.Config(**({"history": 2} if name == HISTORY else {}), **options)
    session = Session(say=[].append if said is None else said.append, progress=False)
    return fit_world_model(model_class, config, dataset, fit, TrainerConfig(), seed, session)


def stored(folder: Path, name: str = "gaussian_ensemble", **options: Any) -> Path:
    """A world model of the unchanged logs on disk."""
    model, _ = fitted(logs(folder / "first"), name, **options)
    save_world_model(folder / "model", model, {})
    return folder / "model"


@pytest.mark.parametrize("name", MODELS)
def test_any_world_model_goes_on_from_its_weights_and_scales(name: str, tmp_path: Path) -> None:
    """A rate that ruins the weights shows both: the numbers at the start are those of the stored model, and these
    weights are kept, because no others are better."""
    folder = stored(tmp_path, name)
    before = load_world_model(folder)
    ruined = dataclasses.replace(FIRST, max_epochs=1, start_from=str(folder))
    after, history = fitted(logs(tmp_path / "next", shifted(0.1)), name, ruined, learning_rate=0.5)
    assert history.start is not None
    at_start = history.start[f"held_out_{history.criterion}"]
    worse = history.epochs[0][f"held_out_{history.criterion}"]
    assert history.best == at_start
    assert np.mean(worse) > 1.1 * np.mean(at_start)
    finalized = ("elite_members", "spread", "termination.offset")
    for key, weight in before.state_dict().items():
        assert key in finalized or torch.equal(after.state_dict()[key], weight), key
    assert after.data_spec == before.data_spec
    state = torch.zeros(3, before.state_dim)
    decoded = [model.decode(state)["state"] for model in (before, after)]
    assert torch.equal(*decoded)


def test_the_start_is_measured_on_the_new_logs_and_improved(tmp_path: Path) -> None:
    folder = stored(tmp_path, **SMALL)
    new = logs(tmp_path / "next", shifted(0.3))
    _, history = fitted(new, "gaussian_ensemble", dataclasses.replace(FIRST, start_from=str(folder)), **SMALL)
    _, scratch = fitted(new, "gaussian_ensemble", **SMALL)
    assert scratch.start is None
    assert history.start is not None
    pairs = zip(history.best, history.start["held_out_mse"], strict=True)  # type: ignore[arg-type]
    assert all(best < start for best, start in pairs)


def test_equal_seeds_give_equal_continued_models(tmp_path: Path) -> None:
    folder = stored(tmp_path, **SMALL)
    new = logs(tmp_path / "next", shifted(0.1))
    fit = dataclasses.replace(FIRST, start_from=str(folder))
    one, again = (fitted(new, "gaussian_ensemble", fit, **SMALL)[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, again[key]) for key, value in one.items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"action_low": [-3.0]},
            r"actions lie in \[-3.0\] to \[1.0\], and lay in \[-1.0\] to \[1.0\]: set `dataset.act",
        ),
        ({"obs_names": {"state": ["speed"]}}, r"`state` holds \['speed'\], and held \['state\[0\]'\]: give it the old"),
        ({"action_names": ["push"]}, r"the actions are \['push'\], and were \[\]: give them the old order"),
    ],
)
def test_logs_whose_numbers_mean_something_else_are_refused(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = stored(tmp_path, **SMALL)
    fit = dataclasses.replace(FIRST, start_from=str(folder))
    with pytest.raises(ValueError, match=message + r".*, or set `fit.start_from: null`"):
        fitted(logs(tmp_path / "next", **fields), "gaussian_ensemble", fit, **SMALL)


def test_other_shapes_of_observations_and_ends_that_were_never_seen_are_refused(tmp_path: Path) -> None:
    def wider(episode: Episode) -> Episode:
        return dataclasses.replace(episode, obs={"state": np.repeat(episode.obs["state"], 2, axis=1)})

    def endless(episode: Episode) -> Episode:
        return dataclasses.replace(episode, terminated=False)

    fit = dataclasses.replace(FIRST, start_from=str(stored(tmp_path, **SMALL)))
    with pytest.raises(
        ValueError, match=r"have shapes {'state': \[2\]}, and had {'state': \[1\]}, or set `fit.start_from"
    ):
        fitted(logs(tmp_path / "wider", wider), "gaussian_ensemble", fit, **SMALL)
    model, _ = fitted(logs(tmp_path / "endless", endless), "gaussian_ensemble", **SMALL)
    save_world_model(tmp_path / "model", model, {})
    with pytest.raises(ValueError, match=r"the logs hold \d+ terminal steps, and those of this world model held 0"):
        fitted(logs(tmp_path / "ends"), "gaussian_ensemble", fit, **SMALL)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gaussian_ensemble", {"width": 16}, "`world_model.width` is 16 and was 8: weights of other shapes than in "),
        ("gaussian_ensemble", {"history": 3}, "`world_model.history` is 3 and was 0: weights of other"),
        (
            "gaussian_ensemble",
            {"members": 1, "elites": 1},
            "`world_model.members` is 1 and was 2, `world_model.elites`",
        ),
        ("gaussian_ensemble", {"termination": "off"}, "`world_model.termination` is off and was learned: "),
        ("rssm", {}, "`world_model.name` is rssm, and .* holds a gaussian_ensemble: set it to that, or"),
    ],
)
def test_another_kind_of_model_is_refused_before_it_is_fitted(
    name: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    fit = dataclasses.replace(FIRST, start_from=str(stored(tmp_path, **SMALL)))
    own = {**(SMALL if name != "rssm" else {}), **options, "learning_rate": 0.1}
    with pytest.raises(ValueError, match=message) as caught:
        fitted(logs(tmp_path / "next"), name, fit, **own)
    assert "learning_rate" not in str(caught.value)  # it gives the same shapes


def test_what_lies_beyond_the_first_logs_is_named_with_its_numbers() -> None:
    draws = torch.Generator().manual_seed(0)
    obs = torch.cat([torch.rand(100, 2, generator=draws), torch.full((100, 1), 5.0)], dim=1)
    moved = obs.clone()
    moved[:, :2] += 0.1 * torch.rand(100, 2, generator=draws)
    reward, end = torch.linspace(-1, 1, 100), torch.zeros(100)
    first = Statistics.of(obs, moved, reward, end)
    labels = ["speed", "height", "wind"]
    assert list(beyond(first, first, labels)) == []
    assert list(beyond(first, dataclasses.replace(first, reward_max=1.01), labels)) == []
    spread = first.obs_std[1]
    far = dataclasses.replace(
        first, obs_max=[first.obs_max[0], first.obs_max[1] + 2 * FAR * spread, 5.0], reward_min=-3.0
    )
    rewards, features = beyond(first, far, labels)
    assert "rewards reach from -3 to 1; the model keeps the range -1 to 1" in rewards
    assert "1 of 3 features lie far outside of the first logs: `height` from " in features
    assert ", 6 standard deviations beyond " in features
    gusty = Statistics.of(obs + torch.rand(100, 3, generator=draws), moved, reward, end)
    (copied,) = beyond(first, gusty, labels)
    assert "the model copies `wind` (1 in all)" in copied


def test_each_seed_has_its_own_folder_or_all_have_one(tmp_path: Path) -> None:
    for seed in (0, 2):
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}/model.json").touch()
    assert seed_folder(tmp_path, 2, "model.json", "fit.start_from") == tmp_path / "seed-2"
    assert seed_folder(tmp_path / "seed-0", 2, "model.json", "fit.start_from") == tmp_path / "seed-0"
    with pytest.raises(
        ValueError, match=r"`fit.start_from`: neither .* nor .*seed-1 holds a model.json; it has seed-0, "
    ):
        seed_folder(tmp_path, 1, "model.json", "fit.start_from")
    with pytest.raises(ValueError, match=r"copy one there, or set `fit.start_from: null`"):
        seed_folder(tmp_path / "nothing", 1, "model.json", "fit.start_from")
