"""Minari datasets in a local root folder, downloaded into it from Minari's remote if missing."""

from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine, space_spec
from pipeline.ingest.sources.minari_remote import fetch_minari, is_complete, minari_root, split_id
from pipeline.ingest.validate import check_image
from pipeline.validation import OPTIONS

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec
    from gymnasium.spaces import Box, Space
    from minari import MinariDataset


def _whole_id(dataset_id: str) -> str:
    split_id(dataset_id)
    return dataset_id


@dataclass(frozen=True, config=OPTIONS)
class MinariConfig(SourceConfig):
    """``path`` is a Minari root (what MINARI_DATASETS_PATH names)."""

    # full id such as D4RL/door/human-v2, or one with its remote such as hf://farama-minari/D4RL/door/human-v2
    dataset_id: Annotated[str, AfterValidator(_whole_id)] = field(kw_only=True)

    @property
    def title(self) -> str:
        """Name of the dataset if params give none."""
        return split_id(self.dataset_id)[1]


class Minari:
    """Source of Minari datasets."""

    Config = MinariConfig

    def __init__(self, config: MinariConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError as :func:`open_minari` and :func:`minari_spec` do."""
        parts = [(open_minari(root, self.config.dataset_id), held_out) for root, held_out in self.config.parts]
        spec = minari_spec(parts[0][0], self.config.dataset_id)
        episodes = (episode for dataset, held_out in parts for episode in minari_episodes(dataset, held_out))
        size = sum(stored_size(dataset) for dataset, _ in parts)
        warnings = dict.fromkeys(warning for dataset, _ in parts for warning in _jpeg_warnings(dataset))
        return combine(self.config, "minari", spec, episodes, 0, list(warnings), size)


def open_minari(root: Path, dataset_id: str) -> "MinariDataset":
    """The dataset, downloaded if missing. Raises ValueError if it cannot be downloaded or is damaged."""
    import minari

    folder = root / split_id(dataset_id)[1] / "data"
    if not is_complete(root, dataset_id):
        fetch_minari(root, dataset_id)
    try:
        return minari.MinariDataset(folder)
    except Exception as error:  # json, h5py and minari raise different errors
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder}: damaged Minari dataset ({reason}); delete it and fetch it again") from None


def minari_spec(dataset: "MinariDataset", dataset_id: str) -> LogSpec:
    """Metadata of the dataset. Raises ValueError for spaces other than vectors and images."""
    space, metadata = dataset.action_space, dataset.storage.metadata
    kind, bounds = space_spec(space)
    if kind is None:
        raise ValueError(f"{dataset_id}: actions {space} are not supported; use a dataset with Box or Discrete actions")
    leaves = _leaf_spaces(dataset.observation_space, dataset_id)
    references = (metadata.get("ref_min_score"), metadata.get("ref_max_score"))
    env_spec = dataset.env_spec
    return LogSpec(
        obs_dim=int(np.prod(leaves["state"].shape)) if list(leaves) == ["state"] else None,
        action_kind=kind,
        bounds=bounds,
        env_id=_importing_id(env_spec) if env_spec else None,
        env_kwargs=dict(env_spec.kwargs) if env_spec else {},
        max_episode_steps=env_spec.max_episode_steps if env_spec else None,
        references=None if None in references else (float(references[0]), float(references[1])),
        license=metadata.get("license"),
    )


def minari_episodes(dataset: "MinariDataset", held_out: bool | None) -> Iterator[Episode]:
    """Episodes in order, each with the flag ``held_out``. Raises ValueError if the file is damaged."""
    place = dataset.storage.data_path
    index = 0
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
    leaves = _leaf_spaces(dataset.observation_space, "").values()
    obs_bytes = sum(int(np.prod(space.shape)) * (1 if _is_image(space) else 4) for space in leaves)
    other_bytes = 4 * (int(np.prod(dataset.action_space.shape or (1,))) + 2)
    return (int(dataset.total_steps) + int(dataset.total_episodes)) * (obs_bytes + other_bytes)


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of an observation by name. Names in dicts and tuples are dotted; a bare vector [T+1, O] is called
    ``state``, a bare image [T+1, H, W, C] ``pixels``."""
    if isinstance(value, dict | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        array = np.asarray(value)
        yield name or ("state" if array.ndim < 3 else "pixels"), array[:, None] if array.ndim == 1 else array


def _leaf_spaces(space: "Space[Any]", dataset_id: str, name: str = "") -> dict[str, "Box"]:
    """The spaces of an observation by the names that :func:`_leaves` uses."""
    import gymnasium

    if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
        items = space.spaces.items() if isinstance(space, gymnasium.spaces.Dict) else enumerate(space.spaces)
        nested = [_leaf_spaces(part, dataset_id, f"{name}.{key}" if name else str(key)) for key, part in items]
        return {key: leaf for part in nested for key, leaf in part.items()}
    if "/" in name:
        raise ValueError(f"{dataset_id}: observation `{name}`: a file name cannot contain `/`; rename it")
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) not in (0, 1, 3):
        problem = f"observation `{name or 'state'}` is {space}, which is not supported"
        raise ValueError(f"{dataset_id}: {problem}; use a dataset with vectors or uint8 images")
    if _is_image(space):
        check_image(f"{dataset_id}: observation `{name or 'pixels'}`", space.shape, space.dtype)
    return {name or ("pixels" if _is_image(space) else "state"): space}


def _is_image(space: "Box") -> bool:
    return len(space.shape) == 3


def _jpeg_warnings(dataset: "MinariDataset") -> list[str]:
    from minari.dataset.minari_storage import is_image_space

    leaves = _leaf_spaces(dataset.observation_space, "")
    lossy = [name for name, space in leaves.items() if dataset.storage.jpeg_encoding and is_image_space(space)]
    fix = "if the original frames exist, store them with jpeg_encoding=False"
    return [f"JPEG compression has changed the pixels of {', '.join(lossy)}; {fix}"] if lossy else []


def _importing_id(spec: "EnvSpec") -> str:
    """An id with the module that registers the environment, so that any process can make it."""
    from pipeline.envs import wrappers

    module = str(spec.entry_point).partition(":")[0]
    if module == wrappers.__name__:
        return f"{module}:{spec.id}"
    package = module.partition(".")[0]
    return spec.id if package == "gymnasium" else f"{package}:{spec.id}"


__all__ = ["Minari", "MinariConfig", "minari_episodes", "minari_root", "minari_spec", "open_minari", "stored_size"]
