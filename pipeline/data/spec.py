"""The description of a prepared dataset: shapes, bounds, statistics and origin."""

from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator, with_config

from pipeline.envs.action_space import KINDS
from pipeline.validation import RECORD, NonNegativeInt, OneOf, PositiveInt
from pipeline.validation.records import save_record
from pipeline.validation.stored import FileName, Shape, Single, read_object, record_of

SCHEMA_VERSION = 2  # 2: `license` was `licence`
AGAIN = "run `dvc repro ingest` to write the dataset again"

RANDOM, LAST, GROUP, GIVEN = SPLIT_KINDS = ("random", "last", "group", "given")  # given: the log marks what is held out

Spread = Annotated[Single, Field(ge=0)]  # a standard deviation that may be 0
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
    obs_shapes: Annotated[dict[FileName, Shape], Field(min_length=1)]
    obs_names: dict[str, list[str]]
    action_dim: PositiveInt
    action_kind: Annotated[str, OneOf(KINDS)]
    action_low: list[Single]
    action_high: list[Single]
    action_bounds: Annotated[str, OneOf(BOUNDS)]
    env_id: str | None
    env_kwargs: dict[str, Any]
    max_episode_steps: int | None
    ref_min_score: float | None
    ref_max_score: float | None
    ref_source: str | None
    transitions: PositiveInt
    episodes: PositiveInt
    held_out_episodes: NonNegativeInt
    dropped: NonNegativeInt
    terminals: NonNegativeInt
    reward_min: Single
    reward_max: Single
    reward_mean: Single
    reward_std: Spread
    obs_min: dict[str, list[Single]]
    obs_max: dict[str, list[Single]]
    obs_mean: dict[str, list[Single]]
    obs_std: dict[str, list[Spread]]
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

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Checks what is read back: statistics, names and bounds of as many entries as there are features."""
        if not len(self.action_low) == len(self.action_high) == self.action_dim:
            raise ValueError(f"action_low and action_high must have {self.action_dim} entries, as action_dim says")
        if not all(low < high for low, high in zip(self.action_low, self.action_high, strict=True)):
            raise ValueError("action_low must be below action_high")
        widths = {key: shape[-1] for key, shape in self.obs_shapes.items()}  # of an image, its channels
        statistics = {"min": self.obs_min, "max": self.obs_max, "mean": self.obs_mean, "std": self.obs_std}
        if any({k: len(v) for k, v in block.items()} != widths for block in statistics.values()):
            raise ValueError(f"obs_{', obs_'.join(statistics)} must have as many entries as obs_shapes, {widths}")
        vectors = {key: widths[key] for key in self.vector_keys}
        if {key: len(names) for key, names in self.obs_names.items()} != vectors:
            raise ValueError(f"obs_names must have as many entries as obs_shapes, {vectors}")
        for block in (self.constant_features, self.exogenous, {k: [*f, *f.values()] for k, f in self.flags.items()}):
            if not all(0 <= i < vectors.get(key, 0) for key, features in block.items() for i in features):
                raise ValueError("constant_features, exogenous and flags must be features of the vectors")
        return self

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
    save_record(spec, file, seal=True)


def read_spec(file: Path) -> DatasetSpec:
    """Read a spec. Raises ValueError if the file is damaged or was written by another version of this project."""
    return record_of(DatasetSpec, read_object(file, SCHEMA_VERSION, AGAIN), file, AGAIN)
