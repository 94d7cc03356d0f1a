"""The last step of an episode whose log ends without a next observation: kept at a true end, else dropped and counted.

A true end needs no next observation, since nothing follows it. The last observation is repeated there, so that the
step, its reward and its terminal stay. Any other last step has no known result and is dropped.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.episode import Episode, Remarks
from pipeline.validation import counted

FAIR = 4  # the mean |reward| of dropped steps may be this many times that of the others: rewards are then dense


@dataclass
class LastSteps:
    """Applies the rule to the episodes of one log, in any order, and reports at the end of the stream.

    ``place`` is the file or folder that messages name. ``limit`` is ``dataset.max_dropped_return``. ``fix`` names the
    options that give a next observation or a true end, as an order: "name `dataset.next_obs_key`".
    """

    place: str
    limit: float
    fix: str
    steps: int = 0  # all steps, those dropped too
    kept: int = 0  # steps at a true end, with a repeated observation
    dropped: int = 0
    total: float = 0.0  # summed |reward| of all steps
    lost: float = 0.0  # summed |reward| of the dropped steps

    def complete(self, episode: Episode) -> Episode:
        """``episode`` itself, which has a final observation; counts its rewards."""
        self.count(episode.reward)
        return episode

    def close(self, episode: Episode) -> Episode | None:
        """The complete episode from one without a final observation, "T O"; None if no step is left."""
        self.count(episode.reward)
        if episode.terminated:
            self.keep()
            return replace(episode, obs={k: np.concatenate([v, v[-1:]]) for k, v in episode.obs.items()})
        self.drop(episode.reward[-1:])
        if len(episode.reward) < 2:
            return None
        cost = None if episode.cost is None else episode.cost[:-1]
        return replace(episode, action=episode.action[:-1], reward=episode.reward[:-1], cost=cost)

    def count(self, reward: np.ndarray) -> None:
        """Count the rewards "T" of an episode, that of a step to be dropped too."""
        self.steps += len(reward)
        self.total += _size(reward)

    def keep(self) -> None:
        """Count a kept step."""
        self.kept += 1

    def drop(self, reward: np.ndarray) -> None:
        """Count dropped steps with their rewards "T", which :meth:`count` counts too."""
        self.dropped += len(reward)
        self.lost += _size(reward)

    @property
    def share(self) -> float:
        """Share of the summed |reward| that goes with the dropped steps; 0 where all rewards are 0."""
        return self.lost / self.total if self.total else 0.0

    def too_much(self, lost: float, steps: int, kept: float, kept_steps: int) -> bool:
        """Whether the |reward| ``lost`` with some steps is above the limit, and much more for each step than ``kept``,
        the summed |reward| of the steps that stay."""
        share = lost / (lost + kept) if lost else 0.0
        return share > self.limit and lost > FAIR * steps * kept / max(kept_steps, 1)

    def report(self, remarks: Remarks) -> None:
        """Add the counts to ``remarks``. Raises ValueError if the dropped steps hold too much of the rewards."""
        if self.kept:
            ends = counted(self.kept, "step is a true end", "steps are true ends")
            remarks.warnings.append(f"{ends} without a next observation: kept, with the last observation repeated")
        if not self.dropped:
            return
        remarks.dropped += self.dropped
        what = f"{counted(self.dropped, 'step')} at the end of an episode without a next observation or a true end"
        held = f"{100 * self.share:.3g} % of the summed absolute reward"
        if self.too_much(self.lost, self.dropped, self.total - self.lost, self.steps - self.dropped):
            raise ValueError(
                f"{self.place}: {what} would be dropped, and with them {held}; {self.fix}, or set "
                f"`dataset.max_dropped_return` to {np.ceil(100 * self.share) / 100:g}"
            )
        remarks.warnings.append(f"{what}: dropped, and with them {held}")


def _size(reward: np.ndarray) -> float:
    """Summed |reward| of those that are known. Logs have millions of short episodes, and ``nansum`` is slow on them."""
    size = float(np.abs(reward).sum())
    return size if np.isfinite(size) else float(np.nansum(np.abs(reward)))
