"""Episodes from a user's function. Ingest imports and runs it with the permissions of the current user."""

import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from pipeline.data.episode import Episode, LoggedData
from pipeline.ingest.sources.base import LogSpec, SourceConfig, combine, require_path
from pipeline.validation import OPTIONS, did_you_mean

FIELDS = ("obs", "action", "reward", "terminated", "held_out")


def _module_and_function(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        raise ValueError("must read `module:function`, such as my_logs:episodes")
    return text


@dataclass(frozen=True, config=OPTIONS)
class CallableConfig(SourceConfig):
    """The function yields :class:`pipeline.data.episode.Episode`, or dicts with its fields; an episode says itself
    whether it is ``held_out``. ``path`` and ``held_out_path`` are what DVC watches for it, such as its file."""

    # module:function that gives episodes, found from the project's root
    function: Annotated[str, AfterValidator(_module_and_function)] = field(kw_only=True)
    kwargs: dict[str, Any] = field(default_factory=dict)  # arguments of the function
    obs_names: dict[str, list[str]] = field(default_factory=dict)  # names of the features of each observation

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
        spec = LogSpec(obs_names=self.config.obs_names)
        return combine(self.config, "callable", spec, _episodes(self.config), 0, [], 0)


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
        episode = raw if isinstance(raw, Episode) else _episode(f"{config.function}: episode {index}", raw)
        _check_names(config, episode)
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


def _episode(where: str, raw: object) -> Episode:
    """Convert a dict to an episode; ``obs`` is one array "T+1 O" or a dict of them."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where}: got {type(raw).__name__}; yield a dict with {', '.join(FIELDS[:4])}")
    for key in raw:
        if key not in FIELDS:
            raise ValueError(f"{where}: unknown key `{key}`{did_you_mean(str(key), FIELDS)}")
    for key in FIELDS[:4]:
        if key not in raw:
            raise ValueError(f"{where}: no `{key}`{did_you_mean(key, raw)}; yield {', '.join(FIELDS[:4])}")
    if np.ndim(raw["terminated"]):
        raise ValueError(f"{where}: `terminated` is an array; yield one bool, True if the task terminated")
    obs = raw["obs"] if isinstance(raw["obs"], Mapping) else {"state": raw["obs"]}
    arrays = {str(key): np.asarray(value) for key, value in obs.items()}
    action, reward = np.asarray(raw["action"]), np.asarray(raw["reward"])
    return Episode(arrays, action, reward, bool(raw["terminated"]), raw.get("held_out"))


def _check_names(config: CallableConfig, episode: Episode) -> None:
    for key, names in config.obs_names.items():
        shapes = {name: list(array.shape[1:]) for name, array in episode.obs.items()}
        if shapes.get(key) != [len(names)]:
            fix = "correct `dataset.obs_names`"
            raise ValueError(f"{config.function}: {len(names)} names for `{key}`, but observations are {shapes}; {fix}")
