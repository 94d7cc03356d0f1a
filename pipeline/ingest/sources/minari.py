"""Minari datasets in a local root folder, downloaded into it from Minari's remote if missing."""

import dataclasses
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.envs.action_space import CONTINUOUS
from pipeline.envs.permission import PACKAGE
from pipeline.envs.registration import OURS, REBUILT
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine
from pipeline.ingest.sources.hdf5_file import check_whole
from pipeline.ingest.sources.minari_episodes import EpisodeReader
from pipeline.ingest.sources.minari_remote import fetch_minari, is_complete, minari_root, split_id
from pipeline.ingest.sources.plain_files import refuse_special
from pipeline.ingest.validate import check_image
from pipeline.validation import OPTIONS, Text

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

    from pipeline.envs.action_forms import ActionForm
    from pipeline.envs.spaces import ObsPart
    from pipeline.ingest.sources.minari_storage import MinariFiles


def _whole_id(dataset_id: str) -> str:
    split_id(dataset_id)
    return dataset_id


@dataclass(frozen=True, config=OPTIONS)
class MinariConfig(SourceConfig):
    """``path`` is a Minari root (what MINARI_DATASETS_PATH names)."""

    # full id such as D4RL/door/human-v2, or one with its remote such as hf://farama-minari/D4RL/door/human-v2
    dataset_id: Annotated[Text, AfterValidator(_whole_id)] = field(kw_only=True)
    # the observations to read by their names, such as direction or arm.speed; null: all of them
    obs_keys: list[Text] | None = None
    cost_key: Text | None = None  # where the infos hold a cost for each step, such as cost or safety/cost; null: none

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
        """The log. Raises ValueError as :func:`open_minari` and :func:`read_minari` do."""
        roots = [(root, held_out) for root, held_out in self.config.parts]
        datasets = [(open_minari(root, self.config.dataset_id), held_out) for root, held_out in roots]
        return read_minari(self.config, "minari", datasets, self.config.obs_keys, self.config.cost_key)


def read_minari(
    config: SourceConfig,
    source: str,
    datasets: "list[tuple[MinariFiles, bool | None]]",
    obs_keys: list[str] | None = None,
    cost_key: str | None = None,
    **more: Any,
) -> LoggedData:
    """The log in ``datasets``, each with its held-out flag. ``more`` is passed to :func:`combine`.

    Raises ValueError for spaces that have no prepared form; damaged files raise it when the episodes are read.
    """
    forms = [Form.of(dataset, config.action_kind == CONTINUOUS, obs_keys) for dataset, _ in datasets]
    if forms[0].sizes != forms[-1].sizes:
        fix = "name two datasets of the same layout"
        raise ValueError(f"{config.held_out_path}: observations or actions differ from {config.path}; {fix}")
    remarks = Remarks()
    pairs = zip(datasets, forms, strict=True)
    readers = [
        EpisodeReader(dataset, held_out, form.parts, form.action, cost_key, config.max_dropped_return)
        for (dataset, held_out), form in pairs
    ]
    logged = combine(
        config,
        source,
        _log_spec(datasets[0][0], forms[0], obs_keys),
        _all_episodes(readers, remarks),
        0,
        list(dict.fromkeys(warning for form in forms for warning in form.warnings)),
        sum(form.stored_size for form in forms),
        remarks=remarks,
        **more,
    )
    return dataclasses.replace(logged, cost_names=["cost"] if cost_key else [])


@dataclasses.dataclass(frozen=True)
class Form:
    """The prepared form of a dataset's observations and actions."""

    dataset: "MinariFiles"
    parts: "list[ObsPart]"
    action: "ActionForm"

    @classmethod
    def of(cls, dataset: "MinariFiles", amounts: bool, obs_keys: list[str] | None) -> "Form":
        """The form of ``dataset``. Raises ValueError for spaces that have none."""
        from pipeline.envs.action_forms import action_form
        from pipeline.envs.spaces import UnsupportedError, obs_parts

        try:
            parts = obs_parts(dataset.storage.observation_space, obs_keys)
            action = action_form(dataset.storage.action_space, amounts)
        except UnsupportedError as error:
            raise ValueError(f"{dataset.id}: {error}; name the others in `dataset.obs_keys`") from None
        except ValueError as error:
            raise ValueError(f"{dataset.id}: {error}") from None
        for part in parts:
            if part.is_image:
                check_image(f"{dataset.id}: observation `{part.name}`", part.shape, part.prepared.dtype)
        return cls(dataset, parts, action)

    @property
    def sizes(self) -> object:
        """What has to be equal in two datasets."""
        return {part.name: part.shape for part in self.parts}, self.action.kind, self.action.size

    @property
    def stored_size(self) -> int:
        """Bytes of the prepared arrays."""
        row = sum(int(np.prod(part.shape)) * (1 if part.is_image else 4) for part in self.parts)
        return (self.dataset.steps + self.dataset.episodes) * (row + 4 * (self.action.size + 2))

    @property
    def warnings(self) -> list[str]:
        """What is changed, and what JPEG has changed."""
        from minari.dataset.minari_storage import is_image_space

        changes = [change for part in self.parts if (change := part.change)]
        if self.action.change:
            changes.append(self.action.change)
        lossy = [part.name for part in self.parts if self.dataset.storage.jpeg_encoding and is_image_space(part.space)]
        fix = "if the original frames exist, store them with jpeg_encoding=False"
        return [
            *self.dataset.warnings,
            *([f"spaces are converted: {'; '.join(changes)}"] if changes else []),
            *([f"JPEG compression has changed the pixels of {', '.join(lossy)}; {fix}"] if lossy else []),
        ]


def open_minari(root: Path, dataset_id: str) -> "MinariFiles":
    """The dataset, downloaded if missing. Raises ValueError if it cannot be downloaded or read."""
    from pipeline.ingest.sources.minari_storage import UnknownError, read_files

    folder = root / split_id(dataset_id)[1] / "data"
    refuse_special(folder if folder.exists() else root)
    if not is_complete(root, dataset_id):
        fetch_minari(root, dataset_id)
    check_whole(folder / "main_data.hdf5")
    try:
        return read_files(folder)
    except UnknownError as error:
        raise ValueError(f"{folder}: {error}") from None
    except Exception as error:  # json, h5py, gymnasium and minari raise different errors
        reason = " ".join(str(error).split())
        fix = "restore it from a copy, or move its folder away to download it again"
        raise ValueError(f"{folder}: unreadable Minari dataset ({reason}); {fix}") from None


def _log_spec(dataset: "MinariFiles", form: Form, obs_keys: list[str] | None) -> LogSpec:
    metadata, env_spec = dataset.metadata, dataset.env_spec
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    env_id, env_kwargs = _recorded(env_spec) if env_spec else (None, {})
    return LogSpec(
        obs_names={part.name: part.names for part in form.parts if part.names},
        obs_keys=obs_keys,
        action_kind=form.action.kind,
        bounds=form.action.bounds,
        env_id=env_id,
        env_kwargs=env_kwargs,
        max_episode_steps=env_spec.max_episode_steps if env_spec else None,
        references=None if low is None or high is None else (float(low), float(high)),
        license=metadata.get("license"),
    )


def _all_episodes(readers: list[EpisodeReader], remarks: Remarks) -> Iterator[Episode]:
    """The episodes of all readers; then what they dropped is in ``remarks``."""
    for reader in readers:
        yield from reader.episodes()
        reader.report(remarks)


def _recorded(spec: "EnvSpec") -> tuple[str, dict[str, Any]]:
    """Id and arguments of the environment that made the log: with wrappers, those that make them again."""
    own = [i for i, wrapper in enumerate(spec.additional_wrappers) if wrapper.entry_point.startswith(f"{PACKAGE}.")]
    inside = own[-1] + 1 if own else 0  # the ids of this project add their wrappers themselves
    env_id = _importing_id(spec)
    if len(spec.additional_wrappers) > inside and env_id != REBUILT:
        return REBUILT, {"spec": spec.to_json()}
    return env_id, dict(spec.kwargs)


def _importing_id(spec: "EnvSpec") -> str:
    """An id with the module that registers the environment, so that any process can make it."""
    package = str(spec.entry_point).partition(":")[0].partition(".")[0]
    if package == "gymnasium":
        return spec.id
    return f"{OURS if package == PACKAGE else package}:{spec.id}"


__all__ = ["Minari", "MinariConfig", "minari_root", "open_minari", "read_minari"]
