"""What ``compare`` and ``sweep`` know of a finished run, from its files: a folder, or a commit of git."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cli.experiment import read_text
from pipeline.evaluation.results import Interval
from pipeline.tracking.dvc_files import definitions_in
from pipeline.tracking.run import flatten

Json = dict[str, Any]
Array = NDArray[np.float64]
METRICS = "reports/metrics"
RETURNS = "data/returns/returns.npz"
ESTIMATORS = ("fqe", "model", "model_pessimistic", "importance")


@dataclass(frozen=True)
class ComparedRun:
    """The results of one run. None, or an empty dict, where it was not measured or is missing."""

    name: str
    settings: dict[str, str]  # params.yaml, flat
    dataset: str = ""
    seeds: int = 0
    episodes: int = 0  # of all seeds together; 0: unknown
    returns: Array | None = None  # "S E" of the policy's real episodes
    return_mean: float | None = None
    return_ci: Interval | None = None  # as the report has it
    estimates: dict[str, float] = field(default_factory=dict)  # offline, by name: fqe, fqe_low, model, ...
    status: str | None = None  # of the decision
    seconds: float | None = None  # that its stages took, those from the cache too
    missing: tuple[str, ...] = ()  # what is left out, and why


def from_files(
    name: str,
    read: Callable[[str], bytes | None],
    seconds: Callable[[Mapping[str, Any]], float | None] = lambda lock: None,
) -> ComparedRun:
    """A run from the files of a finished pipeline. ``read`` gives a file by its path, or None where there is none;
    ``seconds`` gets the stages of dvc.lock. Raises ValueError if the stage `evaluate` has written nothing."""

    def content(path: str) -> Json:
        text = read(path)
        return {} if text is None else json.loads(text)

    evaluation, offline = content(f"{METRICS}/evaluate.json"), content(f"{METRICS}/offline.json")
    if not evaluation and not offline:
        raise ValueError(f"{name}: no {METRICS}/evaluate.json; run `dvc repro` there first")
    seeds = evaluation.get("seeds", [])
    dataset = content(f"{METRICS}/dataset.json")
    score = (evaluation.get("scores") or {}).get("policy")
    returns = policy_returns(read(RETURNS)) if score else None
    bounds = score["return_mean_ci95"] if score else None
    return ComparedRun(
        name=name,
        settings=text_settings(_yaml(read("params.yaml"))),
        dataset=f"{dataset['name']} {dataset['digest'][:6]}" if dataset else "",
        seeds=len(seeds),
        episodes=score.get("episodes", 0) if score else 0,
        returns=returns,
        return_mean=score["return_mean"] if score else None,
        return_ci=(bounds[0], bounds[1]) if bounds else None,
        estimates=_estimates(offline),
        status=content("reports/summary.json").get("status"),
        seconds=seconds(stages_of(read)),
        missing=(left_out(name, RETURNS),) if score and returns is None else (),
    )


def text_settings(params: Mapping[str, Any]) -> dict[str, str]:
    """params.yaml as MLflow holds it: dotted keys and text."""
    return {key: str(value) for key, value in flatten(params).items()}


def left_out(name: str, file: str) -> str:
    """What a run without the returns of its episodes lacks."""
    return f"{name}: no {file}, so the interquartile mean and the probability of improvement are left out"


def policy_returns(content: bytes | None) -> Array | None:
    """The policy's returns "S E" in returns.npz; None without that file or without an environment."""
    if content is None:
        return None
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        return np.asarray(arrays["policy"], np.float64) if "policy" in arrays.files else None


def in_folder(folder: Path) -> Callable[[str], bytes | None]:
    """Reads the files of a folder."""
    return lambda path: (folder / path).read_bytes() if (folder / path).is_file() else None


def in_commit(ref: str) -> Callable[[str], bytes | None]:
    """Reads the files of a commit; those that DVC tracks come from its cache."""

    def read(path: str) -> bytes | None:
        if path == RETURNS:
            return _from_cache(ref, path)
        text = read_text(ref, path)
        return None if text is None else text.encode()

    return read


def stages_of(read: Callable[[str], bytes | None]) -> Json:
    """The stages of dvc.lock that a run consists of: the file also keeps old stages, other seeds and baselines."""
    lock, pipeline, params = (_yaml(read(path)) for path in ("dvc.lock", "dvc.yaml", "params.yaml"))
    defined = definitions_in(pipeline, params)
    return {name: entry for name, entry in lock.get("stages", {}).items() if name in defined}


def _yaml(content: bytes | None) -> Json:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(content or b"{}") or {}


def _from_cache(ref: str, path: str) -> bytes | None:
    import dvc.api

    try:
        content = dvc.api.read(path, rev=ref, mode="rb")
    except Exception:  # what is not in the cache raises errors of several packages without a common base
        return None
    return bytes(content)


def _estimates(offline: Json) -> dict[str, float]:
    pooled = (offline.get("agents") or {}).get("policy") or {}
    available = {name: pooled[name] for name in ESTIMATORS if pooled.get(name)}
    values = {name: estimate["value"] for name, estimate in available.items()}
    lows = {f"{name}_low": estimate["low"] for name, estimate in available.items()}
    return {name: value for name, value in {**values, **lows}.items() if value is not None}
