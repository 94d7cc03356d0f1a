"""Roles of features: exogenous inputs, their forecasts, and the flags of values that were not measured."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from pipeline.data.episode import Episode, LoggedData
from pipeline.validation import did_you_mean


def apply_roles(logged: LoggedData, exogenous: list[str], forecast: int) -> LoggedData:
    """``logged`` with the named features marked as exogenous, each followed by ``forecast`` features of its future.

    A forecast is the logged future value itself, so a policy with forecasts needs good ones in use. Beyond the end of
    an episode the last value is repeated. Raises ValueError for names that are neither features nor observations.
    """
    if not exogenous and not (forecast and logged.exogenous):
        return logged
    episodes = iter(logged.episodes)
    first = next(episodes, None)
    if first is None:
        return logged
    names = {
        key: logged.obs_names.get(key) or [f"{key}[{i}]" for i in range(value.shape[1])]
        for key, value in first.obs.items()
        if value.ndim == 2
    }
    given = _resolved(logged.place, exogenous, names)
    foreseen = [name for name in given if name not in logged.flags.values()]
    columns = {key: [i for i, name in enumerate(group) if name in foreseen] for key, group in names.items()}
    ahead = range(1, forecast + 1)
    future = {key: [f"{names[key][i]}[+{k}]" for i in chosen for k in ahead] for key, chosen in columns.items()}
    units = {f: logged.units[n] for n in foreseen if n in logged.units for f in (f"{n}[+{k}]" for k in ahead)}
    return replace(
        logged,
        episodes=_with_forecasts(_chain(first, episodes), columns, forecast),
        obs_names={key: [*group, *future[key]] for key, group in names.items()},
        exogenous=[*dict.fromkeys([*logged.exogenous, *given]), *(n for group in future.values() for n in group)],
        units={**logged.units, **units},
        env_id=None if forecast else logged.env_id,
        warnings=[*logged.warnings, *_warnings(logged.env_id, forecast)],
    )


def _resolved(place: str, exogenous: list[str], names: Mapping[str, list[str]]) -> list[str]:
    """Names of features. The name of an observation, of a column of categories (``name=value``) or of a column of lists
    (``name[0]``) stands for all of its features."""
    every = [name for group in names.values() for name in group]
    features = {name: [f for f in every if f == name or f.startswith((f"{name}=", f"{name}["))] for name in exogenous}
    for name, chosen in features.items():
        if not chosen:
            chosen += names.get(name, [])
        if not chosen:
            hint = did_you_mean(name, [*every, *names])
            raise ValueError(f"{place}: no feature `{name}`{hint}; correct `dataset.exogenous_columns`")
    return [feature for chosen in features.values() for feature in chosen]


def _warnings(env_id: str | None, forecast: int) -> Iterator[str]:
    if env_id is not None and forecast:
        yield (
            f"`exogenous_forecast` adds features that {env_id} does not give: the policy is evaluated without it; to "
            "evaluate there, let the environment give them"
        )


def exogenous_features(exogenous: Iterable[str], names: Mapping[str, list[str]]) -> dict[str, list[int]]:
    """Indices of the ``exogenous`` features of each key that has some; ``names`` are those of the features by key."""
    chosen = set(exogenous)
    indices = {key: [i for i, name in enumerate(group) if name in chosen] for key, group in names.items()}
    return {key: features for key, features in indices.items() if features}


def flagged_features(flags: Mapping[str, str], names: Mapping[str, list[str]]) -> dict[str, dict[int, int]]:
    """For each key, the index of a feature that has a flag -> the index of the flag."""
    pairs = {
        key: {i: group.index(flags[name]) for i, name in enumerate(group) if flags.get(name) in group}
        for key, group in names.items()
    }
    return {key: features for key, features in pairs.items() if features}


def _chain(first: Episode, rest: Iterator[Episode]) -> Iterator[Episode]:
    yield first
    yield from rest


def _with_forecasts(episodes: Iterator[Episode], columns: Mapping[str, list[int]], forecast: int) -> Iterator[Episode]:
    """Episodes whose observations end with the next ``forecast`` values of their ``columns``."""
    for episode in episodes:
        obs = dict(episode.obs)
        for key, chosen in columns.items():
            if forecast and chosen:
                obs[key] = np.concatenate([obs[key], *(_future(obs[key][:, i], forecast) for i in chosen)], axis=1)
        yield replace(episode, obs=obs)


def _future(values: np.ndarray, forecast: int) -> np.ndarray:
    """The next values "R K" of each of the values "R"; the last one stands for those after the end."""
    rows = np.arange(len(values))[:, None] + np.arange(1, forecast + 1)
    return values[np.minimum(rows, len(values) - 1)]
