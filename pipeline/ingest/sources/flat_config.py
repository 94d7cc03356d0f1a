"""Options of flat logs: one array a column."""

from dataclasses import fields
from typing import Annotated, ClassVar, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from pipeline.ingest.sources.base import SourceConfig, require_reward
from pipeline.validation import OPTIONS, Flag, OneOf, Text

EPISODES, ENVIRONMENTS = "episodes_steps", "steps_environments"


@dataclass(frozen=True, config=OPTIONS)
class FlatConfig(SourceConfig):
    """Columns of a flat log: rows [N, O], episodes end to end. Arrays with two leading axes are read as well: padded
    episodes [E, T, O], and parallel environments [N, environments, O].

    Without ``next_obs_key``, something else must say where episodes end: ``timeout_key`` or ``episode_key``, or
    ``timeout_key: null`` where ``terminal_key`` marks every end.
    """

    obs_key: Text = "observations"  # column of observations
    action_key: Text = "actions"  # column of actions
    reward_key: Text | None = "rewards"  # column of rewards; null: `transform` defines them
    terminal_key: Text | None = "terminals"  # column of true ends; null: no episode truly ends
    # column of time limits; null: there are none. The default may be absent from the file, if it has next observations
    timeout_key: Text | None = "timeouts"
    # column of next observations; null: none. The default may be absent from the file
    next_obs_key: Text | None = "next_observations"
    terminal_includes_timeouts: Flag = False  # whether terminal_key is also set at time limits
    episode_key: Text | None = None  # column of episode numbers: an episode ends where the number changes
    mask_key: Text | None = None  # column that is 1 in real rows and 0 in padding
    # meaning of two leading axes: episodes_steps or steps_environments; null: recognized, else refused
    leading_axes: Annotated[str, OneOf((EPISODES, ENVIRONMENTS))] | None = None

    ends_share_a_column: ClassVar[bool] = False  # true ends are marked in the timeout column too

    @model_validator(mode="after")
    def _reward_is_defined(self) -> Self:
        require_reward(self, "reward_key", self.reward_key)
        return self

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        if self.terminal_key is not None and self.terminal_key == self.timeout_key:
            name = self.terminal_key
            fix = f"set `terminal_key: null` if `{name}` is also set at time limits, else `timeout_key: null`"
            raise ValueError(f"terminal_key and timeout_key both name `{name}`; {fix}")
        return self

    @property
    def required(self) -> dict[str, str]:
        """The columns that must exist, by the key of params.yaml that names them: all but two defaults."""
        defaults = {field.name: field.default for field in fields(type(self))}
        keys = {key: getattr(self, key) for key in self.columns}
        optional = ("timeout_key", "next_obs_key")
        return {key: name for key, name in keys.items() if key not in optional or name != defaults[key]}

    @property
    def columns(self) -> dict[str, str]:
        """All columns that are named, by the key of params.yaml that names them."""
        keys = ("obs_key", "action_key", "reward_key", "terminal_key", "timeout_key", "next_obs_key", "episode_key")
        return {key: name for key in (*keys, "mask_key") if (name := getattr(self, key)) is not None}
