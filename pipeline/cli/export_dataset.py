"""``export-dataset FOLDER ID``: export a prepared dataset as a Minari dataset for other tools."""

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
    from gymnasium import Env
    from gymnasium.spaces import Space
    from minari.data_collector import EpisodeBuffer


def export_minari(folder: Path, dataset_id: str, root: Path) -> list[str]:
    """Write both splits to ``root``/``dataset_id`` in the order of the log, one episode in memory at a time.

    Observations, rewards and terminals are the stored ones. Actions are converted back to the log's units, as float32
    (equal to the log up to rounding) or integers. An episode without a terminal ends in a truncation. Raises ValueError
    if the target exists or the id is not valid in Minari.
    """
    import minari
    from minari.dataset.minari_dataset import DATASET_ID_RE

    dataset = open_dataset(folder)
    spec = dataset.spec
    if not DATASET_ID_RE.fullmatch(dataset_id) or "-v" not in dataset_id:
        raise ValueError(
            f"`{dataset_id}` is not a valid Minari id; use namespace/name-v0, such as mine/{_slug(dataset)}-v0"
        )
    target = root / dataset_id
    if target.exists():
        raise ValueError(f"{target}: exists; choose another id or version, or remove it")
    root.mkdir(parents=True, exist_ok=True)
    # Resolved, because Minari would read a relative root as a folder below its own.
    with _whole_or_nothing(target), minari_root(root.resolve()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the missing author
        created = minari.create_dataset_from_buffers(
            dataset_id,
            _episodes(dataset),  # type: ignore[arg-type]  # typed as a list, but iterated once
            env=_registered(dataset),
            observation_space=_obs_space(dataset),
            action_space=actions_of(spec).space(),
            description=f"{spec.name}, from {spec.source}",
            jpeg_encoding=False,
        )
        metadata = {"license": spec.license, "ref_min_score": spec.ref_min_score, "ref_max_score": spec.ref_max_score}
        created.storage.update_metadata({key: value for key, value in metadata.items() if value is not None})
    return [f"{target}: {spec.transitions} steps, {spec.episodes} episodes, {spec.terminals} true ends"]


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
    """A Box for a single observation with its usual name, else a Dict by key."""
    from gymnasium.spaces import Box, Dict

    spaces: dict[str, Space[Any]] = {}
    for key, shape in dataset.spec.obs_shapes.items():
        image = len(shape) == 3
        spaces[key] = Box(0, 255, tuple(shape), np.uint8) if image else Box(-np.inf, np.inf, tuple(shape), np.float32)
    return next(iter(spaces.values())) if _single(dataset) else Dict(spaces)


def _single(dataset: PreparedDataset) -> bool:
    return dataset.spec.obs_keys in (["state"], ["pixels"])


def _registered(dataset: PreparedDataset) -> "Env[Any, Any] | None":
    """The environment, created so that its kwargs are stored; None if it is not installed."""
    from pipeline.envs.registration import make

    if dataset.spec.env_id is None:
        return None
    try:
        return make(dataset.spec.env_id, dataset.spec.env_kwargs)
    except Exception:  # creating an environment can raise anything
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
