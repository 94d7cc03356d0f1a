"""``export-dataset FOLDER ID``: a prepared dataset as a Minari dataset, for other tools to read."""

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.dataset import PreparedDataset, open_dataset
from pipeline.envs.action_space import actions_of
from pipeline.ingest.sources.minari import minari_root

if TYPE_CHECKING:
    from gymnasium.spaces import Space
    from minari.data_collector import EpisodeBuffer


def export_minari(folder: Path, dataset_id: str, root: Path) -> list[str]:
    """Write ``root``/``dataset_id``, an episode in memory at a time; both splits, in the order of the log.

    Observations, rewards and ends are the stored ones; actions are mapped back to the log's own units, as float32
    (which agrees with the log to rounding) or whole numbers. An end that is no true one is a truncation. Raises
    ValueError when the target exists or the id is none of Minari's."""
    import minari
    from minari.dataset.minari_dataset import DATASET_ID_RE

    dataset = open_dataset(folder)
    facts = dataset.spec
    if not DATASET_ID_RE.fullmatch(dataset_id) or "-v" not in dataset_id:
        raise ValueError(f"`{dataset_id}` is no Minari id; write namespace/name-v0, such as mine/{_slug(dataset)}-v0")
    target = root / dataset_id
    if target.exists():
        raise ValueError(f"{target}: exists; choose another id or version, or remove it")
    root.mkdir(parents=True, exist_ok=True)
    # Resolved, because Minari takes a relative root for one below itself.
    with _whole_or_nothing(target), minari_root(root.resolve()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no author to name
        created = minari.create_dataset_from_buffers(
            dataset_id,
            _episodes(dataset),  # type: ignore[arg-type]  # asks for a list, and goes through it once
            env=_registered(dataset),
            observation_space=_obs_space(dataset),
            action_space=actions_of(facts).space(),
            description=f"{facts.name}, from {facts.source}",
            jpeg_encoding=False,
        )
        known = {"license": facts.license, "ref_min_score": facts.ref_min_score, "ref_max_score": facts.ref_max_score}
        created.storage.update_metadata({key: value for key, value in known.items() if value is not None})
    return [f"{target}: {facts.transitions} steps, {facts.episodes} episodes, {facts.terminals} true ends"]


@contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _slug(dataset: PreparedDataset) -> str:
    return "".join(c if c.isalnum() else "-" for c in dataset.spec.name).strip("-").lower()


def _obs_space(dataset: PreparedDataset) -> "Space[Any]":
    """One Box where there is one observation under its usual name, else a Dict by key."""
    from gymnasium.spaces import Box, Dict

    spaces: dict[str, Space[Any]] = {}
    for key, shape in dataset.spec.obs_shapes.items():
        image = len(shape) == 3
        spaces[key] = Box(0, 255, tuple(shape), np.uint8) if image else Box(-np.inf, np.inf, tuple(shape), np.float32)
    return next(iter(spaces.values())) if _single(dataset) else Dict(spaces)


def _single(dataset: PreparedDataset) -> bool:
    return dataset.spec.obs_keys in (["state"], ["pixels"])


def _registered(dataset: PreparedDataset) -> Any:
    """The environment, made so that its kwargs are stored; None where it is not installed."""
    from pipeline.envs.registration import make

    if dataset.spec.env_id is None:
        return None
    try:
        return make(dataset.spec.env_id, dataset.spec.env_kwargs)
    except Exception:  # an environment may raise anything while it is made
        return None


def _episodes(dataset: PreparedDataset) -> "Iterator[EpisodeBuffer]":
    from minari.data_collector import EpisodeBuffer

    actions = actions_of(dataset.spec)
    dtype = actions.space().dtype
    for index, (start, stop) in enumerate(zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True)):
        obs = {key: np.array(array[start:stop]) for key, array in dataset.obs.items()}
        steps = slice(start, stop - 1)
        terminations = np.array(dataset.terminal[steps])
        truncations = np.zeros_like(terminations)
        truncations[-1] = not terminations[-1]
        yield EpisodeBuffer(
            id=index,
            observations=next(iter(obs.values())) if _single(dataset) else obs,
            actions=actions.denormalize(dataset.action[steps]).astype(dtype),  # type: ignore[arg-type]
            rewards=np.array(dataset.reward[steps]),  # type: ignore[arg-type]
            terminations=terminations,  # type: ignore[arg-type]
            truncations=truncations,  # type: ignore[arg-type]
        )
