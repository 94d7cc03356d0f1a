"""Episodes from a user's function. Ingest imports and runs it with the permissions of the current user."""

import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from pipeline.data.episode import Episode, LoggedData, Remarks
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine, require_path
from pipeline.ingest.sources.episode_parts import unknown_rewards
from pipeline.ingest.sources.last_step import LastSteps
from pipeline.ingest.validate import arrays_of
from pipeline.validation import OPTIONS, Text, did_you_mean

REQUIRED = ("obs", "action", "reward", "terminated")
FIELDS = (*REQUIRED, "held_out", "cost", "group", "span")
FIX = "give observations one row more than actions, the final one, or `terminated` at true ends"


def _module_and_function(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        raise ValueError("must read `module:function`, such as my_logs:episodes")
    return text


@dataclass(frozen=True, config=OPTIONS)
class CallableConfig(SourceConfig):
    """The function yields :class:`pipeline.data.episode.Episode`, or dicts with its fields; an episode says itself
    whether it is ``held_out``. Without the final observation, the last step is kept at a true end, else dropped.
    ``path`` and ``held_out_path`` are what DVC watches for it, such as its file."""

    # module:function that gives episodes, found from the project's root
    function: Annotated[Text, AfterValidator(_module_and_function)] = field(kw_only=True)
    kwargs: dict[str, Any] = field(default_factory=dict)  # arguments of the function
    obs_names: dict[Text, list[Text]] = field(default_factory=dict)  # names of the features of each observation
    cost_names: list[Text] = field(default_factory=list)  # names of the columns of costs, where episodes have `cost`

    @property
    def title(self) -> str:
        """Name of the dataset if params give none."""
        return self.function


class FromCallable:
    """Source of the episodes that a function yields."""

    Config = CallableConfig

    def __init__(self, config: CallableConfig) -> None:
        self.config = config

    def read(self) -> LoggedData:
        """The log. Raises ValueError for missing paths; errors of the function are raised with the episodes."""
        for path, param in ((self.config.path, "path"), (self.config.held_out_path, "held_out_path")):
            require_path(Path(path), param)
        spec, remarks = LogSpec(obs_names=self.config.obs_names), Remarks()
        episodes = _complete(self.config, remarks)
        logged = combine(self.config, "callable", spec, episodes, 0, [], 0, remarks=remarks)
        return replace(logged, cost_names=self.config.cost_names)


def _complete(config: CallableConfig, remarks: Remarks) -> Iterator[Episode]:
    """The episodes, each with its final observation."""
    last_steps = LastSteps(config.function, config.max_dropped_return, FIX)
    for episode in _episodes(config):
        rows = {len(value) for value in (*episode.obs.values(), episode.action, episode.reward)}
        if len(rows) != 1 or rows == {0}:
            yield last_steps.complete(episode)  # or of wrong lengths: refused later, in words of its own
        elif (closed := last_steps.close(episode)) is not None:
            yield closed
    last_steps.report(remarks)


def _episodes(config: CallableConfig) -> Iterator[Episode]:
    with _one_line_errors(config.function):
        raws = iter(_find(config.function)(**config.kwargs))
    index = 0
    marked = None
    while True:
        with _one_line_errors(config.function):
            raw = next(raws, None)
        if raw is None:
            return
        where = f"{config.function}: episode {index}"
        episode = raw if isinstance(raw, Episode) else _episode(where, raw, config.transform is not None)
        _check_arrays(where, episode)
        _check_names(config, episode, where)
        marked = episode.held_out is not None if marked is None else marked
        if marked != (episode.held_out is not None):
            fix = "set `held_out` in all episodes, or in none"
            raise ValueError(f"{config.function}: episode {index}: only some episodes have `held_out`; {fix}")
        yield episode
        index += 1


def _find(function: str) -> Callable[..., Any]:
    """Import the function. Raises ValueError if the module or the function does not exist."""
    module_name, _, name = function.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        fix = "correct `dataset.function`, or install it"
        raise ValueError(f"{function}: no module `{error.name}` in {Path.cwd()}; {fix}") from None
    finally:
        sys.path.remove(str(Path.cwd()))
    attribute: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(attribute):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        hint = did_you_mean(name, functions)
        raise ValueError(f"{function}: {module.__file__} has no function `{name}`{hint}; correct `dataset.function`")
    return attribute


@contextmanager
def _one_line_errors(function: str) -> Iterator[None]:
    """Turn any error of the user's code into a ValueError of one line that names the place."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(f"{function}: "):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{function}: {reason} ({last.filename}:{last.lineno}); correct the function") from None


def _episode(where: str, raw: object, transformed: bool) -> Episode:
    """Convert a dict to an episode; ``obs`` is one array "T+1 O" or a dict of them.

    ``reward`` may be missing if the episode is ``transformed``, which defines it then.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where}: got {type(raw).__name__}; yield a dict with {', '.join(REQUIRED)}")
    for key in raw:
        if key not in FIELDS:
            raise ValueError(f"{where}: unknown key `{key}`{did_you_mean(str(key), FIELDS)}")
    for key in REQUIRED:
        if key not in raw and not (key == "reward" and transformed):
            fix = ", or define it in `dataset.transform`" if key == "reward" else ""
            raise ValueError(f"{where}: no `{key}`{did_you_mean(key, raw)}; yield {', '.join(REQUIRED)}{fix}")
    if np.ndim(raw["terminated"]):
        raise ValueError(f"{where}: `terminated` is an array; yield one bool, True if the task terminated")
    obs = raw["obs"] if isinstance(raw["obs"], Mapping) else {"state": raw["obs"]}
    action = np.asarray(raw["action"])
    return Episode(
        obs={str(key): np.asarray(value) for key, value in obs.items()},
        action=action,
        reward=np.asarray(raw["reward"]) if "reward" in raw else unknown_rewards(len(action)),
        terminated=bool(raw["terminated"]),
        held_out=raw.get("held_out"),
        cost=None if raw.get("cost") is None else np.asarray(raw["cost"]),
        group=None if raw.get("group") is None else str(raw["group"]),
        span=None if raw.get("span") is None else _span(where, raw["span"]),
    )


def _span(where: str, span: Any) -> tuple[float, float]:
    """Times of the first and the last observation. Raises ValueError for anything else than two ascending numbers."""
    numbers = np.asarray(span)
    if numbers.shape != (2,) or numbers.dtype.kind not in "fiu" or numbers[0] > numbers[1]:
        raise ValueError(f"{where}: `span` is {span}; yield the times of the first and the last observation")
    return float(numbers[0]), float(numbers[1])


def _check_arrays(where: str, episode: Episode) -> None:
    for name, array in arrays_of(episode).items():
        if array.ndim == 0 or array.dtype.kind not in "fiub":
            what = f"a single {array.dtype}" if array.ndim == 0 else f"an array of {array.dtype}"
            raise ValueError(f"{where}: {name} is {what}; yield numbers, one row per step")


def _check_names(config: CallableConfig, episode: Episode, where: str) -> None:
    for key, names in config.obs_names.items():
        shapes = {name: list(array.shape[1:]) for name, array in episode.obs.items()}
        if shapes.get(key) != [len(names)]:
            fix = "correct `dataset.obs_names`"
            raise ValueError(f"{config.function}: {len(names)} names for `{key}`, but observations are {shapes}; {fix}")
    columns = 0 if episode.cost is None else episode.cost.shape[1] if episode.cost.ndim == 2 else -1
    if columns != len(config.cost_names):
        shape = "no cost" if episode.cost is None else f"cost {list(episode.cost.shape)}"
        fix = "yield `cost` [steps, costs], and name each column in `dataset.cost_names`"
        raise ValueError(f"{where}: {shape} for {len(config.cost_names)} cost_names; {fix}")
