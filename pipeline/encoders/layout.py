"""What the numbers of a log stand for. A model that goes on learning needs logs whose numbers mean the same."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import with_config

from pipeline.validation import RECORD
from pipeline.validation.stored import Single


@with_config(RECORD)
@dataclass(frozen=True)
class Layout:
    """Names of features and actions in their order, the bounds of actions in their own units, and the unit of a name
    where the log says it. Names of actions are empty where the log has none."""

    obs_names: dict[str, list[str]]
    action_names: list[str]
    action_kind: str
    action_start: int
    action_low: list[Single]
    action_high: list[Single]
    units: dict[str, str]

    def changes(self, now: "Layout") -> Iterator[str]:
        """What means something else in ``now``, each as one phrase with both values and the option to change."""
        before = (self.action_kind, len(self.action_low), self.action_start)
        after = (now.action_kind, len(now.action_low), now.action_start)
        if before != after:
            yield f"actions are {_actions(*after)}, and were {_actions(*before)}"
        elif (self.action_low, self.action_high) != (now.action_low, now.action_high):
            yield (
                f"actions lie in {now.action_low} to {now.action_high}, and lay in {self.action_low} to "
                f"{self.action_high}: set `dataset.action_low` and `dataset.action_high` to what they were"
            )
        for key, names in self.obs_names.items():
            if names != now.obs_names.get(key, names):
                yield f"observation `{key}` holds {now.obs_names[key]}, and held {names}: give it the old order"
        if self.action_names != now.action_names:
            yield f"the actions are {now.action_names}, and were {self.action_names}: give them the old order"
        for name, unit in self.units.items():
            if unit != now.units.get(name, unit):
                yield f"`{name}` is in {now.units[name]}, and was in {unit}: convert it"


def _actions(kind: str, count: int, start: int) -> str:
    return f"{kind}, {count}" + (f" from {start} on" if start else "")


def changed_shapes(before: Mapping[str, list[int]], now: Mapping[str, list[int]]) -> str | None:
    """What differs between the shapes of observations, as one phrase; None if they are equal."""
    return None if dict(before) == dict(now) else f"observations have shapes {dict(now)}, and had {dict(before)}"
