"""The episodes of a Minari dataset in their prepared form."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.episode import Episode, Remarks
from pipeline.ingest.sources.last_step import LastSteps

if TYPE_CHECKING:
    from pipeline.envs.action_forms import ActionForm
    from pipeline.envs.spaces import ObsPart
    from pipeline.ingest.sources.minari_storage import MinariFiles


@dataclass(frozen=True)
class Stretch:
    """The steps of one task within a stored episode, ``start`` to ``stop``. ``followed`` says whether the observation
    after them is known to be theirs, and not the first one after a reset."""

    start: int
    stop: int
    followed: bool


class EpisodeReader:
    """Reads the episodes of one dataset, each with the flag ``held_out``.

    A stored episode whose end flags are set before its last step holds several tasks, and is divided there. Steps on
    which a flag stays set come after the end of the task: they are dropped and counted.
    """

    def __init__(
        self,
        dataset: "MinariFiles",
        held_out: bool | None,
        parts: "list[ObsPart]",
        action: "ActionForm",
        cost_key: str | None,
        limit: float,
    ) -> None:
        self.dataset, self.held_out = dataset, held_out
        self.parts, self.action, self.cost_key = parts, action, cost_key
        self.place = str(dataset.storage.data_path)
        self.last = LastSteps(self.place, limit, "store the last observation of each episode")
        self.divided = 0  # stored episodes that hold several tasks
        self.after = 0  # steps after the end of their task
        self.lost = 0.0  # their summed |reward|

    def episodes(self) -> Iterator[Episode]:
        """The episodes in order. Raises ValueError if the file is damaged, or holds other values than its spaces."""
        index = 0
        try:
            for raw in self.dataset.storage.get_episodes(range(self.dataset.episodes)):
                yield from self._episodes(raw, f"{self.place}: episode {index}")
                index += 1
        except (OSError, KeyError, AssertionError) as error:  # Minari asserts what groups and datasets are
            reason = " ".join(str(error).split()) or "not in Minari's layout"
            fix = "restore it from a copy, or move its folder away to download it again"
            raise ValueError(f"{self.place}: damaged at episode {index} ({reason}); {fix}") from None

    def report(self, remarks: Remarks) -> None:
        """Add what was dropped to ``remarks``. Raises ValueError if that holds too much of the rewards."""
        self.last.report(remarks)
        if self.divided:
            fix = "store one task in each episode if they are not ends"
            remarks.warnings.append(f"{self.divided} stored episodes are divided where end flags are set inside; {fix}")
        if not self.after:
            return
        share = self.lost / self.last.total if self.last.total else 0.0
        what = f"{self.after} steps on which an end flag stays set, and with them {100 * share:.3g} % of the return"
        if share > self.last.limit:
            fix = "store the flag on the last step alone, or set `dataset.max_dropped_return` to"
            limit = np.ceil(100 * share) / 100
            raise ValueError(f"{self.place}: {what}, would be dropped as steps after the end; {fix} {limit:g}")
        remarks.dropped += self.after
        remarks.warnings.append(f"{what}, are dropped as steps after the end")

    def _episodes(self, raw: dict[str, Any], where: str) -> Iterator[Episode]:
        obs = {part.name: _converted(part, raw["observations"], where) for part in self.parts}
        try:
            action = self.action.prepare(raw["actions"])
        except ValueError as error:
            raise ValueError(f"{where}: {error}; correct the log") from None
        reward = np.asarray(raw["rewards"])
        if reward.dtype.kind not in "fiub":
            raise ValueError(f"{where}: rewards are {reward.dtype}, expected numbers; correct the log")
        reward = reward.reshape(-1) if reward.shape == (len(action), 1) else reward
        cost = self._cost(raw["infos"], len(reward), where)
        ends = [np.asarray(raw[name]).astype(bool).reshape(-1) for name in ("terminations", "truncations")]
        stretches = divide(ends[0] | ends[1])
        self.divided += len(stretches) > 1
        self._count_after(stretches, reward)
        rows = {len(values) for values in obs.values()}
        for stretch in stretches:
            steps = slice(stretch.start, stretch.stop)
            whole = stretch.followed and (stretch.stop < len(reward) or rows != {len(reward)})
            seen = slice(stretch.start, stretch.stop + 1 if stretch.stop < len(reward) else None)
            kept = {name: values[seen if whole else steps] for name, values in obs.items()}
            terminated = bool(ends[0][steps][-1:].any())
            part = Episode(kept, action[steps], reward[steps], terminated, self.held_out, _rows(cost, steps))
            complete = self.last.complete(part) if whole else self.last.close(part)
            if complete is not None:
                yield complete

    def _count_after(self, stretches: list[Stretch], reward: np.ndarray) -> None:
        after = np.ones(len(reward), bool)
        for stretch in stretches:
            after[stretch.start : stretch.stop] = False
        if after.any():
            self.after += int(after.sum())
            self.lost += float(np.abs(reward[after]).sum())
            self.last.count(reward[after])

    def _cost(self, infos: Any, steps: int, where: str) -> np.ndarray | None:
        from pipeline.ingest.sources.minari_storage import info_array

        if self.cost_key is None:
            return None
        try:
            cost = info_array(infos, self.cost_key).reshape(-1, 1)
        except KeyError:
            raise ValueError(f"{where}: no `{self.cost_key}` in its infos; correct `dataset.cost_key`") from None
        if len(cost) not in (steps, steps + 1):
            raise ValueError(f"{where}: {len(cost)} costs for {steps} steps; correct `dataset.cost_key`")
        return cost[len(cost) - steps :]  # infos of a reset come first


def divide(ends: np.ndarray) -> list[Stretch]:
    """The stretches of an episode whose steps have the flags ``ends`` "T": each runs up to the first step with a flag,
    and the next one starts where the flag is off again."""
    stretches, start, steps = [], 0, len(ends)
    while start < steps:
        marked = start + np.flatnonzero(ends[start:])
        stop = int(marked[0]) + 1 if len(marked) else steps
        off = np.flatnonzero(~ends[stop:])
        held = int(off[0]) if len(off) else steps - stop  # steps on which the flag stays set
        stretches.append(Stretch(start, stop, stop == steps or held > 0))
        start = stop + held
    return stretches or [Stretch(0, 0, True)]


def _converted(part: "ObsPart", observations: Any, where: str) -> np.ndarray:
    """The prepared array of ``part``, "T+1 ...". Raises ValueError if the stored one differs from its space."""
    array = part.of(observations)
    shape = part.space.shape or ()
    if array.shape[1:] != shape and (part.is_image or math.prod(array.shape[1:]) != math.prod(shape)):
        shapes = f"shape {list(array.shape[1:])} per step, but its space has {list(shape)}"
        raise ValueError(f"{where}, observation `{part.name}`: {shapes}; correct the log")
    try:
        return part.convert(array.reshape(len(array), *shape))
    except ValueError as error:
        raise ValueError(f"{where}: {error}; correct the log") from None


def _rows(cost: np.ndarray | None, steps: slice) -> np.ndarray | None:
    return None if cost is None else cost[steps]
