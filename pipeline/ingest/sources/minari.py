"""Minari datasets: under a local root, or downloaded into it from Minari's remote when absent."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.sources.base import FileFacts, SourceConfig, combine, space_spec
from pipeline.ingest.sources.minari_remote import fetch_minari, is_complete, minari_root, split_id
from pipeline.ingest.validate import check_image

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec
    from gymnasium.spaces import Box
    from minari import MinariDataset


@dataclass(frozen=True)
class MinariConfig(SourceConfig):
    """``path`` is a Minari root (what MINARI_DATASETS_PATH names); ``dataset_id`` a full id such as
    ``D4RL/door/human-v2``, or one with its remote such as ``hf://farama-minari/D4RL/door/human-v2``."""

    dataset_id: str = "???"  # OmegaConf's mark of a mandatory value

    def __post_init__(self) -> None:
        super().__post_init__()
        split_id(self.dataset_id)

    @property
    def title(self) -> str:
        return split_id(self.dataset_id)[1]


class Minari:
    Config = MinariConfig

    def __init__(self, config: MinariConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        parts = [(open_minari(root, self.config.dataset_id), held_out) for root, held_out in self.config.parts]
        facts = minari_facts(parts[0][0], self.config.dataset_id)
        episodes = (episode for dataset, held_out in parts for episode in minari_episodes(dataset, held_out))
        size = sum(stored_size(dataset) for dataset, _ in parts)
        warnings = dict.fromkeys(warning for dataset, _ in parts for warning in _jpeg_warnings(dataset))
        return combine(self.config, "minari", facts, episodes, 0, list(warnings), size)


def open_minari(root: Path, dataset_id: str) -> "MinariDataset":
    """Raises ValueError when the dataset is neither local nor to be had from the remote, or is damaged."""
    import minari

    folder = root / split_id(dataset_id)[1] / "data"
    if not is_complete(root, dataset_id):
        fetch_minari(root, dataset_id)
    try:
        return minari.MinariDataset(folder)
    except Exception as error:  # json, h5py and minari each raise their own
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder}: damaged Minari dataset ({reason}); delete it and fetch it again") from None


def minari_facts(dataset: "MinariDataset", dataset_id: str) -> FileFacts:
    """What the metadata says. Raises ValueError for spaces other than vectors and images."""
    space, metadata = dataset.action_space, dataset.storage.metadata
    kind, bounds = space_spec(space)
    if kind is None:
        raise ValueError(f"{dataset_id}: actions are {space}: only Box and Discrete are supported yet")
    leaves = _leaf_spaces(dataset.observation_space, dataset_id)
    references = (metadata.get("ref_min_score"), metadata.get("ref_max_score"))
    spec = dataset.env_spec
    return FileFacts(
        obs_dim=int(np.prod(leaves["state"].shape)) if list(leaves) == ["state"] else None,
        action_kind=kind,
        bounds=bounds,
        env_id=_importing_id(spec) if spec else None,
        env_kwargs=dict(spec.kwargs) if spec else {},
        max_episode_steps=spec.max_episode_steps if spec else None,
        references=None if None in references else (float(references[0]), float(references[1])),
        license=metadata.get("license"),
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
    leaves = _leaf_spaces(dataset.observation_space, "").values()
    observed = sum(int(np.prod(space.shape)) * (1 if _is_image(space) else 4) for space in leaves)
    other = 4 * (int(np.prod(dataset.action_space.shape or (1,))) + 2)
    return (int(dataset.total_steps) + int(dataset.total_episodes)) * (observed + other)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Dict and tuple observations as (dotted name, array); plain vectors [T+1, O] are called ``state``, plain images
    [T+1, H, W, C] ``pixels``."""
    if isinstance(value, dict | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in items:
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    else:
        array = np.asarray(value)
        yield name or ("state" if array.ndim < 3 else "pixels"), array[:, None] if array.ndim == 1 else array


def _leaf_spaces(space: Any, dataset_id: str, name: str = "") -> dict[str, "Box"]:
    """The parts of an observation under the names that :func:`_leaves` gives them."""
    import gymnasium

    if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
        items = space.spaces.items() if isinstance(space, gymnasium.spaces.Dict) else enumerate(space.spaces)
        nested = [_leaf_spaces(part, dataset_id, f"{name}.{key}" if name else str(key)) for key, part in items]
        return {key: leaf for part in nested for key, leaf in part.items()}
    if "/" in name:
        raise ValueError(f"{dataset_id}: observation `{name}`: a name with `/` is no file's; rename it")
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) not in (0, 1, 3):
        shown = f"observation `{name or 'state'}` is {space}"
        raise ValueError(f"{dataset_id}: {shown}: only vectors and uint8 images are supported yet")
    if _is_image(space):
        check_image(f"{dataset_id}: observation `{name or 'pixels'}`", space.shape, space.dtype)
    return {name or ("pixels" if _is_image(space) else "state"): space}


def _is_image(space: "Box") -> bool:
    return len(space.shape) == 3


def _jpeg_warnings(dataset: "MinariDataset") -> list[str]:
    from minari.dataset.minari_storage import is_image_space

    leaves = _leaf_spaces(dataset.observation_space, "")
    lossy = [name for name, space in leaves.items() if dataset.storage.jpeg_encoding and is_image_space(space)]
    fix = "kept as decoded; store them with jpeg_encoding=False where the frames themselves are at hand"
    return [f"JPEG has changed the pixels of {', '.join(lossy)}: {fix}"] if lossy else []


def _importing_id(spec: "EnvSpec") -> str:
    """The id that imports what registers the environment, in any process: of this project, or of another package."""
    from pipeline.envs import wrappers

    module = str(spec.entry_point).partition(":")[0]
    if module == wrappers.__name__:
        return f"{module}:{spec.id}"
    package = module.partition(".")[0]
    return spec.id if package == "gymnasium" else f"{package}:{spec.id}"


__all__ = ["Minari", "MinariConfig", "minari_episodes", "minari_facts", "minari_root", "open_minari", "stored_size"]
