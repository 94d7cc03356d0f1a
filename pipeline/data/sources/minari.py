"""Minari datasets: under a local root, or downloaded into it from Minari's remote when absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.logged import Episode, LoggedData
from pipeline.data.sources.base import FileFacts, SourceConfig, combine, finite_bounds
from pipeline.params import did_you_mean

if TYPE_CHECKING:
    from minari import MinariDataset


@dataclass(frozen=True)
class MinariConfig(SourceConfig):
    """``path`` is a Minari root (what MINARI_DATASETS_PATH names); ``dataset_id`` a full id such as
    ``D4RL/door/human-v2``."""

    dataset_id: str = "???"  # OmegaConf's mark of a mandatory value

    @property
    def title(self) -> str:
        return self.dataset_id


class Minari:
    Config = MinariConfig

    def __init__(self, config: MinariConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        parts = [(open_minari(root, self.config.dataset_id), held_out) for root, held_out in self.config.parts]
        facts = minari_facts(parts[0][0], self.config.dataset_id)
        episodes = (episode for dataset, held_out in parts for episode in minari_episodes(dataset, held_out))
        size = sum(stored_size(dataset) for dataset, _ in parts)
        return combine(self.config, "minari", facts, episodes, 0, [], size)


def open_minari(root: Path, dataset_id: str) -> "MinariDataset":
    """Raises ValueError when the dataset is neither local nor to be had from the remote, or is damaged."""
    import minari

    folder = root / dataset_id / "data"
    if not folder.exists():
        _download(root, dataset_id)
    try:
        return minari.MinariDataset(folder)
    except Exception as error:  # json, h5py and minari each raise their own
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder}: damaged Minari dataset ({reason}); delete it and fetch it again") from None


def minari_facts(dataset: "MinariDataset", dataset_id: str) -> FileFacts:
    """What the metadata says. Raises ValueError for spaces other than vectors."""
    import gymnasium

    space, metadata = dataset.action_space, dataset.storage.metadata
    if not isinstance(space, gymnasium.spaces.Box):
        raise ValueError(f"{dataset_id}: actions are {space}: only continuous (Box) actions are supported yet")
    leaves = _leaf_dims(dataset.observation_space, dataset_id)
    bounds = finite_bounds(space.low, space.high)
    references = (metadata.get("ref_min_score"), metadata.get("ref_max_score"))
    spec = dataset.env_spec
    return FileFacts(
        obs_dim=leaves["state"] if list(leaves) == ["state"] else None,
        action_low=bounds[0] if bounds else None,
        action_high=bounds[1] if bounds else None,
        env_id=spec.id if spec else None,
        env_kwargs=dict(spec.kwargs) if spec else {},
        max_episode_steps=spec.max_episode_steps if spec else None,
        references=None if None in references else (float(references[0]), float(references[1])),
        licence=metadata.get("license"),
    )


def minari_episodes(dataset: "MinariDataset", held_out: bool | None) -> Iterator[Episode]:
    """Episodes in order. Raises ValueError when the file turns out to be damaged."""
    place, index = dataset.storage.data_path, 0
    try:
        for raw in dataset.storage.get_episodes(dataset.episode_indices):
            action = np.asarray(raw["actions"])
            terminated = bool(np.any(np.asarray(raw["terminations"])[-1:]))
            obs = dict(_leaves(raw["observations"]))
            yield Episode(obs, action.reshape(len(action), -1), np.asarray(raw["rewards"]), terminated, held_out)
            index += 1
    except (OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{place}: damaged at episode {index} ({reason}); delete it and fetch it again") from None


def stored_size(dataset: "MinariDataset") -> int:
    """Bytes of the prepared arrays."""
    width = sum(_leaf_dims(dataset.observation_space, "").values()) + int(np.prod(dataset.action_space.shape or (1,)))
    return 4 * (int(dataset.total_steps) + int(dataset.total_episodes)) * (width + 2)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Dict and tuple observations as (dotted name, [T+1, O]); a plain array is called ``state``."""
    if isinstance(value, dict | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        array = np.asarray(value)
        yield name or "state", array[:, None] if array.ndim == 1 else array


def _leaf_dims(space: Any, dataset_id: str, name: str = "") -> dict[str, int]:
    import gymnasium

    if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
        items = space.spaces.items() if isinstance(space, gymnasium.spaces.Dict) else enumerate(space.spaces)
        nested = [_leaf_dims(part, dataset_id, f"{name}.{key}" if name else str(key)) for key, part in items]
        return {key: dim for part in nested for key, dim in part.items()}
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) > 1:
        raise ValueError(f"{dataset_id}: observation `{name or 'state'}` is {space}: only vectors are supported yet")
    return {name or "state": int(np.prod(space.shape))}


def _download(root: Path, dataset_id: str) -> None:
    import minari

    try:
        with minari_root(root):
            minari.download_dataset(dataset_id)
    except ImportError:
        raise ValueError(_absent(root, dataset_id, "downloading needs `pip install 'minari[hf]'`")) from None
    except Exception as error:  # the remotes share no base class
        raise ValueError(_absent(root, dataset_id, f"download failed: {' '.join(str(error).split())[:200]}")) from None


def _absent(root: Path, dataset_id: str, reason: str) -> str:
    local = [str(file.parent.parent.relative_to(root)) for file in root.glob("**/data/metadata.json")]
    hint = did_you_mean(dataset_id, local) if local else ""
    return f"{root}: no Minari dataset `{dataset_id}`{hint}; {reason}"


@contextmanager
def minari_root(root: Path) -> Iterator[None]:
    """Minari takes its root from the environment alone; set it for one call."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(root)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
