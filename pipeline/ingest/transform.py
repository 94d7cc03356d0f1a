"""A user's function that changes episodes while they are read, for example to define another reward.

``dataset.transform: mine:reward`` names the function ``reward`` in ``data/transforms/mine.py``, a folder that DVC
watches. Ingest runs its code: it calls the function once for each episode of any source, before anything is validated
or stored, with a dict

    obs       {name: [T+1, O]}, one more row than steps; the name is ``state`` in a log of plain vectors
    action    [T, A], in the log's units
    reward    [T]
    terminal  bool [T], True where the task terminates, not at a time limit

and returns such a dict; keys that it omits keep their values. Episodes are cut after their first terminal.
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
from pipeline.validation import did_you_mean

FOLDER = Path("data/transforms")
KEYS = ("obs", "action", "reward", "terminal")
Transform = Callable[[dict[str, Any]], Mapping[str, Any]]


def apply_transform(logged: LoggedData, name: str | None) -> LoggedData:
    """``logged`` with the function ``name`` (``module:function``) applied to every episode; unchanged if None.

    Reference scores belong to the log's reward, so only those of params.yaml are kept. Raises ValueError if the
    function is missing; its own errors are raised as ValueError when the episodes are read.
    """
    if name is None:
        return logged
    function, digest = load_transform(name)
    place = f"{logged.place} through `{name}`"
    episodes = iter(logged.episodes)
    first = next(episodes, None)
    if first is None:
        return logged
    new = transform_episode(function, first, f"{place}: episode 0")
    rest = (transform_episode(function, episode, f"{place}: episode {i}") for i, episode in enumerate(episodes, 1))
    keep_references = logged.ref_source == "params.yaml"
    same_shapes = _same_shapes(first, new)
    return replace(
        logged,
        place=place,
        episodes=chain([new], rest),
        obs_names=_names(logged, first, new, place),
        env_id=logged.env_id if same_shapes else None,
        ref_min_score=logged.ref_min_score if keep_references else None,
        ref_max_score=logged.ref_max_score if keep_references else None,
        ref_source=logged.ref_source if keep_references else None,
        warnings=[*logged.warnings, *_warnings(logged.env_id, name, digest, same_shapes)],
    )


def load_transform(name: str, folder: Path = FOLDER) -> tuple[Transform, str]:
    """The function ``module:function``, and a digest of its file (16 hex digits).

    Raises ValueError if the file or the function is missing, or if the file fails to run.
    """
    module, _, attribute = name.partition(":")
    file = folder / f"{module}.py"
    if not file.is_file():
        modules = [path.stem for path in folder.glob("*.py")]
        raise ValueError(f"{file}: not found{did_you_mean(module, modules)}; correct `dataset.transform: {name}`")
    spec = importlib.util.spec_from_file_location(f"transforms.{module}", file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:  # user code may raise anything
        raise ValueError(f"{file}: {type(error).__name__}: {error}; correct the file") from error
    function = getattr(loaded, attribute, None)
    if not callable(function):
        functions = [n for n, value in vars(loaded).items() if callable(value)]
        hint = did_you_mean(attribute, functions)
        raise ValueError(f"{file}: no function `{attribute}`{hint}; correct `dataset.transform: {name}`")
    return function, hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def transform_episode(function: Transform, episode: Episode, where: str) -> Episode:
    """The episode that the function returns, cut after its first terminal.

    Raises ValueError, which starts with ``where``, if the function fails or returns something else.
    """
    terminal = np.zeros(len(episode.action), bool)
    terminal[-1:] = episode.terminated
    logged = {"obs": episode.obs, "action": episode.action, "reward": episode.reward, "terminal": terminal}
    try:
        returned = function(deepcopy(logged))
    except Exception as error:  # user code may raise anything
        raise ValueError(f"{where}: {type(error).__name__}: {error}; correct the function") from error
    if not isinstance(returned, Mapping):
        raise ValueError(f"{where}: the function returned a {type(returned).__name__}; return the dict of the episode")
    for key in returned:
        if key not in KEYS:
            raise ValueError(f"{where}: the function returned an unknown key `{key}`{did_you_mean(str(key), KEYS)}")
    return _cut({**logged, **returned}, episode, where)


def _cut(fields: Mapping[str, Any], episode: Episode, where: str) -> Episode:
    action, reward = np.asarray(fields["action"]), np.asarray(fields["reward"])
    terminal = np.asarray(fields["terminal"]).astype(bool)
    if terminal.shape != (len(action),):
        raise ValueError(
            f"{where}, terminal: shape {list(terminal.shape)}, expected [{len(action)}]; return one bool per step"
        )
    steps = int(np.argmax(terminal)) + 1 if terminal.any() else len(action)
    excess = len(action) - steps  # cut from the end, so that arrays of a wrong length are still refused later
    obs = {key: np.asarray(value)[: len(value) - excess] for key, value in fields["obs"].items()}
    reward = reward[: len(reward) - excess]
    cost = None if episode.cost is None else episode.cost[:steps]
    return replace(episode, obs=obs, action=action[:steps], reward=reward, terminated=bool(terminal.any()), cost=cost)


def _names(logged: LoggedData, old: Episode, new: Episode, place: str) -> dict[str, list[str]]:
    """Names of the features after the transform: the old ones, also where more features follow them.

    Raises ValueError if features with a role are lost, since it would be unknown which ones are flags and ages.
    """
    names: dict[str, list[str]] = {}
    for key, group in logged.obs_names.items():
        value, count = new.obs.get(key), len(group)
        if value is not None and value.ndim == 2 and value.shape[1] >= count:
            if value.shape[1] == count:
                names[key] = group
            elif np.array_equal(value[:, :count], old.obs[key][: len(value)], equal_nan=True):
                names[key] = [*group, *(f"{key}[{i}]" for i in range(count, value.shape[1]))]
    kept = {name for group in names.values() for name in group}
    if lost := [name for name in (*logged.exogenous, *logged.flags) if name not in kept]:
        fix = "keep the features of the log in their order, and add new ones after them"
        raise ValueError(f"{place}: the function removes `{lost[0]}`, which has a role in the model; {fix}")
    return names


def _same_shapes(old: Episode, new: Episode) -> bool:
    """Whether an environment that fits the log also fits the transformed log."""
    shapes = [{k: v.shape[1:] for k, v in {**e.obs, "action": e.action}.items()} for e in (old, new)]
    return shapes[0] == shapes[1]


def _warnings(env_id: str | None, name: str, digest: str, same_shapes: bool) -> Iterator[str]:
    yield f"episodes are changed by `{name}` (digest of its file: {digest})"
    if env_id is not None and same_shapes:
        yield f"{env_id} is evaluated with its own reward and termination, without `{name}`"
    elif env_id is not None:
        yield f"`{name}` changes shapes, so {env_id} does not fit: the policy is evaluated without an environment"
