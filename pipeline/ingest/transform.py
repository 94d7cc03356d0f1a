"""Reward, termination, observation and action defined anew by the user's own function, without touching the logs.

``dataset.transform: mine:reward`` names the function ``reward`` of ``data/transforms/mine.py``, a folder that DVC
watches. Its code is executed. It is called once for each episode of any source, before anything is checked or stored,
with a dict

    obs       {name: [T+1, O]}, one more row than there are steps; a log of plain vectors calls them ``state``
    action    [T, A], in the log's own units
    reward    [T]
    terminal  bool [T], True where the task ends; never at a time limit

and returns such a dict; what it leaves out stays. An episode ends at its first terminal, and what follows is left out.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.episode import Episode, LoggedData
from pipeline.params import did_you_mean

FOLDER = Path("data/transforms")
KEYS = ("obs", "action", "reward", "terminal")
Transform = Callable[[dict[str, Any]], Mapping[str, Any]]


def transformed(logged: LoggedData, name: str | None) -> LoggedData:
    """``logged`` with every episode changed; as it is without a ``name``.

    References are for the reward of the log, so only those of params.yaml stay. Raises ValueError where the function is
    not found; what it does wrong is raised when its episodes are read.
    """
    if name is None:
        return logged
    function, digest = load(name)
    place = f"{logged.place} through `{name}`"
    episodes = iter(logged.episodes)
    first = next(episodes, None)
    if first is None:
        return logged
    new = changed(function, first, f"{place}: episode 0")
    rest = (changed(function, episode, f"{place}: episode {i}") for i, episode in enumerate(episodes, 1))
    sizes = {key: value.shape[1:] for key, value in new.obs.items()}
    kept = logged.ref_source == "params.yaml"
    return replace(
        logged,
        place=place,
        episodes=chain([new], rest),
        obs_names={k: names for k, names in logged.obs_names.items() if sizes.get(k) == (len(names),)},
        env_id=logged.env_id if _same_shapes(first, new) else None,
        ref_min_score=logged.ref_min_score if kept else None,
        ref_max_score=logged.ref_max_score if kept else None,
        ref_source=logged.ref_source if kept else None,
        warnings=[*logged.warnings, *_told(logged.env_id, name, digest, _same_shapes(first, new))],
    )


def load(name: str, folder: Path = FOLDER) -> tuple[Transform, str]:
    """The function behind ``module:function``, and 16 hex digits of its file. Raises ValueError when it is not there,
    or its file fails to run."""
    module, _, attribute = name.partition(":")
    file = folder / f"{module}.py"
    if not file.is_file():
        known = [path.stem for path in folder.glob("*.py")]
        raise ValueError(f"{file}: not found{did_you_mean(module, known)}; correct `dataset.transform: {name}`")
    spec = importlib.util.spec_from_file_location(f"transforms.{module}", file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:  # it is the user's code
        raise ValueError(f"{file}: {type(error).__name__}: {error}; repair it") from error
    function = getattr(loaded, attribute, None)
    if not callable(function):
        known = [n for n, value in vars(loaded).items() if callable(value)]
        raise ValueError(f"{file}: no function `{attribute}`{did_you_mean(attribute, known)}")
    return function, hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def changed(function: Transform, episode: Episode, where: str) -> Episode:
    """What the function makes of an episode, cut after its first terminal. Raises ValueError that names the place."""
    terminal = np.zeros(len(episode.action), bool)
    terminal[-1:] = episode.terminated
    logged = {"obs": episode.obs, "action": episode.action, "reward": episode.reward, "terminal": terminal}
    try:
        returned = function(deepcopy(logged))
    except Exception as error:  # it is the user's code
        raise ValueError(f"{where}: {type(error).__name__}: {error}; repair the function") from error
    if not isinstance(returned, Mapping):
        raise ValueError(f"{where}: a {type(returned).__name__} came back; return the dict of the episode")
    for key in returned:
        if key not in KEYS:
            raise ValueError(f"{where}: unknown key `{key}` came back{did_you_mean(str(key), KEYS)}")
    return _cut({**logged, **returned}, episode.held_out, where)


def _cut(given: Mapping[str, Any], held_out: bool | None, where: str) -> Episode:
    action, reward = np.asarray(given["action"]), np.asarray(given["reward"])
    terminal = np.asarray(given["terminal"]).astype(bool)
    if terminal.shape != (len(action),):
        raise ValueError(
            f"{where}, terminal: shape {list(terminal.shape)}, expected one for each of {len(action)} steps"
        )
    steps = int(np.argmax(terminal)) + 1 if terminal.any() else len(action)
    lost = len(action) - steps  # counted from the end, so that arrays of a wrong length stay wrong and are refused
    obs = {key: np.asarray(value)[: len(value) - lost] for key, value in given["obs"].items()}
    return Episode(obs, action[:steps], reward[: len(reward) - lost], bool(terminal.any()), held_out)


def _same_shapes(old: Episode, new: Episode) -> bool:
    """Whether an environment that fits the log still fits what became of it."""
    shapes = [{k: v.shape[1:] for k, v in {**e.obs, "action": e.action}.items()} for e in (old, new)]
    return shapes[0] == shapes[1]


def _told(env_id: str | None, name: str, digest: str, fits: bool) -> Iterator[str]:
    yield f"episodes are those that `{name}` makes of the log (its file: {digest})"
    if env_id is not None and fits:
        yield f"{env_id} knows nothing of `{name}`: what is measured there is by its own reward and termination"
    elif env_id is not None:
        yield f"{env_id} does not give what `{name}` makes of an observation: the policy is evaluated without it"
