"""What sources share whose files tell episodes apart: end marks, the final observation, one vector from several."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.episode import Episode, Remarks
from pipeline.ingest.sources.last_step import LastSteps


@dataclass
class EpisodeMarks:
    """Reads the marks of whole episodes, counts odd ones, and reports them at the end of the stream."""

    terminal_key: str | None
    early: int = 0  # marks before the last step
    episodes: int = 0
    terminated: int = 0

    def ends_truly(self, place: str, terminal: np.ndarray | None, timeout: np.ndarray | None) -> bool:
        """Whether an episode with marks "T" terminated. Raises ValueError for other values than 0 and 1."""
        self.episodes += 1
        if terminal is None:
            return False
        if not np.isin(terminal, (0, 1)).all():
            problem = f"`{self.terminal_key}` must hold only 0 and 1, one per step"
            raise ValueError(f"{place}: {problem}; name another column in `dataset.terminal_key` or repair it")
        self.early += int(terminal[:-1].sum())
        ended = bool(terminal[-1:].any()) and not (timeout is not None and bool(timeout[-1:].any()))
        self.terminated += ended
        return ended

    def report(self, remarks: Remarks) -> None:
        """Add the counts to ``remarks``."""
        if self.early:
            problem = f"{self.early} steps before the last one of an episode are marked `{self.terminal_key}`"
            remarks.warnings.append(f"{problem}, but the episode goes on: these marks are ignored")


def with_final(episode: Episode, last_steps: LastSteps) -> Episode | None:
    """The complete episode from one whose observations are "T+1 ...", or "T ..." where the final one is unknown.

    None if no step is left, as :meth:`LastSteps.close` says.
    """
    steps = len(episode.action)
    if all(len(value) > steps for value in episode.obs.values()):
        return last_steps.complete(episode)
    return last_steps.close(replace(episode, obs={key: value[:steps] for key, value in episode.obs.items()}))


def one_per_step(place: str, name: str, array: np.ndarray, steps: int) -> np.ndarray:
    """Rewards or marks as "T". Raises ValueError if they are no numbers, or another number of them than ``steps``."""
    if array.size != steps or array.dtype.kind not in "fiub":
        what = f"{array.dtype} of shape {list(array.shape)}"
        problem = f"`{name}` holds {what}, expected one number for each of {steps} steps"
        raise ValueError(f"{place}: {problem}; name another column or repair it")
    return array.reshape(-1)


def unknown_rewards(steps: int) -> np.ndarray:
    """Rewards "T" of a log without any. A transform has to define them: NaN is refused afterwards."""
    return np.full(steps, np.nan, np.float32)


def feature_names(names: Mapping[str, list[str] | None], widths: Mapping[str, int]) -> list[str]:
    """Names of the features of one vector that joins several, each led by the name of its vector if there are more."""
    features = []
    for key, width in widths.items():
        given = names.get(key)
        if given is None or len(given) != width:
            features += [key] if width == 1 else [f"{key}[{i}]" for i in range(width)]
        else:
            features += [name if len(widths) == 1 else f"{key}.{name}" for name in given]
    return features
