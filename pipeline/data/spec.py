"""The description of a prepared dataset: shapes, bounds, statistics and origin."""

import json
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from pydantic import with_config

from pipeline.envs.action_space import KINDS
from pipeline.validation import RECORD, OneOf, PositiveInt, from_json
from pipeline.validation.records import save_record

SCHEMA_VERSION = 2  # 2: `license` was `licence`

RANDOM, LAST, GROUP, GIVEN = SPLIT_KINDS = ("random", "last", "group", "given")  # given: the log marks what is held out

BOUNDS = ("declared", "inferred", "quantiles")  # where action bounds come from


@with_config(RECORD)
@dataclass(frozen=True)
class DatasetSpec:
    """The contents of ``spec.json``.

    Statistics are of the training split: of observations over all rows, final ones included; of rewards over steps.
    ``action_low`` and ``action_high`` are in the log's own unit. Stored actions are in [-1, 1]; where bounds are
    quantiles, actions beyond the bounds lie outside. Discrete actions are stored one-hot, so their bounds are 0 and 1;
    ``action_start`` is their first number in the log. ``obs_std`` is not clamped: it is 0 for a constant feature. An
    observation of shape [H, W, C] is a uint8 image: its statistics have one value for each channel, from 0 to 255, and
    it has no ``obs_names`` and no ``constant_features``. ``dropped`` counts logged steps without a next observation.
    ``exogenous`` are the features of a key that no action changes; ``flags`` maps a feature of a key to the feature
    that is 1 where it was measured. ``split`` is how held-out episodes were chosen. ``action_names`` has a name for
    each dimension of the action, and is empty where the log has no names; ``units`` maps the name of a feature or of an
    action to its unit, where the log says it.
    """

    schema_version: int
    name: str
    source: str
    obs_shapes: dict[str, list[PositiveInt]]
    obs_names: dict[str, list[str]]
    action_dim: PositiveInt
    action_kind: Annotated[str, OneOf(KINDS)]
    action_low: list[float]
    action_high: list[float]
    action_bounds: Annotated[str, OneOf(BOUNDS)]
    env_id: str | None
    env_kwargs: dict[str, Any]
    max_episode_steps: int | None
    ref_min_score: float | None
    ref_max_score: float | None
    ref_source: str | None
    transitions: int
    episodes: int
    held_out_episodes: int
    dropped: int
    terminals: int
    reward_min: float
    reward_max: float
    reward_mean: float
    reward_std: float
    obs_min: dict[str, list[float]]
    obs_max: dict[str, list[float]]
    obs_mean: dict[str, list[float]]
    obs_std: dict[str, list[float]]
    constant_features: dict[str, list[int]]
    license: str | None
    digest: str
    warnings: list[str]
    action_start: int = 0
    exogenous: dict[str, list[int]] = field(default_factory=dict)
    flags: dict[str, dict[int, int]] = field(default_factory=dict)
    cost_names: list[str] = field(default_factory=list)
    split: Annotated[str, OneOf(SPLIT_KINDS)] = RANDOM
    action_names: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """The name of a feature or an action with its unit, ``comp_spd [rpm]``; the name alone if it says the unit."""
        unit = self.units.get(name)
        return name if unit is None or f"[{unit}]" in name or f"({unit})" in name else f"{name} [{unit}]"

    def action_label(self, i: int) -> str:
        """The name of action dimension ``i``, or of option ``i`` of a discrete action, with its unit; ``action[0]``
        where the log has no names."""
        return self.label(self.action_names[i]) if self.action_names else f"action[{i}]"

    @property
    def obs_dim(self) -> int:
        """Length of all vector observations together; 0 if there are only images."""
        return sum(len(self.obs_mean[key]) for key in self.vector_keys)

    @property
    def obs_keys(self) -> list[str]:
        """All observation keys, sorted."""
        return sorted(self.obs_shapes)

    @property
    def vector_keys(self) -> list[str]:
        """Keys of vector observations, sorted."""
        return [key for key in self.obs_keys if len(self.obs_shapes[key]) == 1]

    @property
    def flat_exogenous(self) -> list[int]:
        """Places of the exogenous features in the flat vector observation."""
        return [start + i for key, start in self._starts.items() for i in self.exogenous.get(key, [])]

    @property
    def flat_flags(self) -> dict[int, int]:
        """Places of flagged features in the flat vector observation -> those of their flags."""
        flags = {key: self.flags.get(key, {}) for key in self.vector_keys}
        return {self._starts[key] + i: self._starts[key] + j for key in flags for i, j in flags[key].items()}

    @property
    def _starts(self) -> dict[str, int]:
        """First place of each vector in the flat observation."""
        sizes = [0, *(len(self.obs_mean[key]) for key in self.vector_keys)]
        return dict(zip(self.vector_keys, accumulate(sizes), strict=False))

    @property
    def image_keys(self) -> list[str]:
        """Keys of images, sorted."""
        return [key for key in self.obs_keys if len(self.obs_shapes[key]) == 3]


def write_spec(spec: DatasetSpec, file: Path) -> None:
    """Write ``spec`` as JSON. Raises ValueError if a number is not finite."""
    save_record(spec, file)


def read_spec(file: Path) -> DatasetSpec:
    """Read a spec. Raises ValueError if the file is damaged or was written by another version of this project."""
    try:
        content = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{file}: not valid JSON; run `dvc repro ingest` to write the dataset again") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise ValueError(f"{file}: no schema_version; run `dvc repro ingest` to write the dataset again")
    if version < SCHEMA_VERSION:
        raise ValueError(f"{file}: schema_version {version} is older than {SCHEMA_VERSION}; run `dvc repro ingest`")
    if version > SCHEMA_VERSION:
        raise ValueError(f"{file}: schema_version {version} is newer than {SCHEMA_VERSION}; update this project")
    try:
        return from_json(DatasetSpec, content)
    except ValueError as error:
        raise ValueError(f"{file}: {error}; run `dvc repro ingest` to write the dataset again") from None
