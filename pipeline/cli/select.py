"""``select``: rank policies by offline estimates alone, and where true returns are known, say how well that went."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
RULES = {
    "fqe_low": "lower bound of fitted Q evaluation",
    "fqe": "fitted Q evaluation",
    "model": "return in the world model, discounted",
    "model_low": "its least member",
    "model_pessimistic": "the same less the penalty",
    "model_pessimistic_low": "its least member",
    "importance": "importance weighting",
}
SHOWN = ("fqe", "fqe_low", "model", "model_pessimistic", "importance")


@dataclass(frozen=True)
class Candidate:
    """A policy, its estimates by name, and the mean return of its real episodes where they were run."""

    name: str
    estimates: dict[str, float]
    true_return: float | None


def select_policy(candidates: Sequence[Candidate], by: str, k: int, file: Path | None) -> list[str]:
    """The ranking as lines of a table, best first; with true returns also Spearman's rank correlation and the regret of
    every rule. The numbers go to ``file`` as JSON. Raises ValueError for an unknown rule, or when no policy has it."""
    from pipeline.validation import did_you_mean

    if by not in RULES:
        raise ValueError(f"rule `{by}` is unknown{did_you_mean(by, RULES)}")
    judged = [c for c in candidates if by in c.estimates]
    if not judged:
        raise ValueError(f"none of {len(candidates)} policies has the estimate `{by}`; run the stage evaluate_offline")
    ranked = sorted(judged, key=lambda c: -c.estimates[by])
    known = [c for c in candidates if c.true_return is not None]
    agreement = {rule: found for rule in RULES if (found := _agreement(known, rule, k))}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        policies = [vars(c) for c in ranked]
        file.write_text(json.dumps({"by": by, "policies": policies, "agreement": agreement}, indent=2) + "\n")
    without = [f"no `{by}`: {c.name}" for c in candidates if c not in judged]
    return [*_table(ranked), *without, f"ranked by {by}: {RULES[by]}", *_agreement_lines(agreement, k)]


def candidates_of_bundles(
    bundles: Sequence[Path], dataset: Path, world_model: Path, episodes: int, seed: int
) -> list[Candidate]:
    """Bundles judged here and now, by the ``offline`` block of params.yaml, with ``episodes`` real ones each."""
    from pipeline.data.dataset import open_dataset
    from pipeline.evaluation.episodes import run_episodes
    from pipeline.ope import OfflineConfig
    from pipeline.ope.evaluator import PolicyEvaluator
    from pipeline.ope.summary import flat
    from pipeline.params import build, read_params, section
    from pipeline.serving.agent import load_agent
    from pipeline.training.config import TrainerConfig
    from pipeline.training.trainer import set_up_torch
    from pipeline.world_models.checkpoint import load_world_model

    params = read_params()
    set_up_torch(build(TrainerConfig, section(params, "trainer"), "trainer"))
    config = build(OfflineConfig, section(params, "offline"), "offline")
    logs, agents = open_dataset(dataset), [(str(bundle), load_agent(bundle)) for bundle in bundles]
    if episodes > 0 and logs.spec.env_id is None:
        raise ValueError("the logs name no environment: leave --episodes out")
    judge, found = PolicyEvaluator(logs, load_world_model(world_model), config, seed), []
    for name, agent in agents:
        print(f"judging {name}", flush=True)
        true = None
        if episodes > 0:
            results = run_episodes(agent, logs.spec.env_id or "", logs.spec.env_kwargs, episodes, REAL_SEED)
            true = float(results.returns.mean())
        found.append(Candidate(name, flat(judge(agent)), true))
    return found


REAL_SEED = 10_000  # of the first real episode, as in the evaluate stage


def candidates_of_experiment() -> list[Candidate]:
    """Every policy that a finished ``evaluate_offline`` run of the MLflow experiment judged by the dataset and
    the ``offline`` settings of the newest one; its true return from the ``evaluate`` run that met the same weights.
    Raises ValueError without any."""
    from pipeline.tracking.store import client, experiment_name, tracking_uri

    store, uri = client(tracking_uri()), tracking_uri()
    experiment = store.get_experiment_by_name(experiment_name())
    runs = _finished(store, experiment.experiment_id) if experiment else []
    judgements = [r for r in runs if r.data.tags.get("pipeline.stage") == "evaluate_offline"]
    if not judgements:
        raise ValueError(f"no finished run of evaluate_offline in {uri}; run `dvc repro`, or name bundles")
    newest: dict[str, Any] = {}
    for run in judgements:
        if _judged_by(run) == _judged_by(judgements[0]):
            newest.setdefault(run.data.params["policy_sha256"], run)
    returns = _true_returns(runs)
    names = _names(list(newest.values()))
    return [
        Candidate(names[run.info.run_id], _estimates(run.data.metrics), returns.get(digest))
        for digest, run in newest.items()
    ]


def _finished(store: Any, experiment: str) -> list[Any]:
    """Newest first."""
    found, token = [], None
    while True:
        page = store.search_runs([experiment], "attributes.status = 'FINISHED'", max_results=1000, page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return found


def _judged_by(run: Any) -> tuple[list[str], dict[str, str]]:
    """Dataset and settings: estimates by others cannot be compared."""
    datasets = [i.dataset.digest for i in run.inputs.dataset_inputs]
    return datasets, {k: v for k, v in run.data.params.items() if k.startswith("offline.")}


def _true_returns(runs: Sequence[Any]) -> dict[str, float]:
    """Mean return by the digest of the policy's weights, from the newest ``evaluate`` run that met it."""
    found: dict[str, float] = {}
    for run in runs:
        for key, digest in run.data.params.items():
            metric = f"evaluate/{key.removeprefix('policy_sha256.')}/return"
            if key.startswith("policy_sha256.") and metric in run.data.metrics:
                found.setdefault(digest, run.data.metrics[metric])
    return found


def _estimates(metrics: Json) -> dict[str, float]:
    return {k.removeprefix("offline/"): v for k, v in metrics.items() if k.startswith("offline/")}


def _names(runs: Sequence[Any]) -> dict[str, str]:
    """Each run by what sets its params apart, and its seed."""
    params = [{k: v for k, v in run.data.params.items() if k != "policy_sha256"} for run in runs]
    keys = sorted({k for p in params for k in p if len({q.get(k) for q in params}) > 1})
    return {
        run.info.run_id: ", ".join([*(f"{k} {p[k]}" for k in keys if k in p), f"seed {run.data.tags['pipeline.seed']}"])
        for run, p in zip(runs, params, strict=True)
    }


def _agreement(known: Sequence[Candidate], rule: str, k: int) -> Json | None:
    from pipeline.ope.ranking import rank_correlation, regret_at

    judged = [c for c in known if rule in c.estimates]
    if len(judged) < 2:
        return None
    values, returns = [c.estimates[rule] for c in judged], [float(c.true_return or 0.0) for c in judged]
    regret = regret_at(min(k, len(judged)), values, returns)
    return {"policies": len(judged), "spearman": rank_correlation(values, returns), "regret": regret}


def _table(ranked: Sequence[Candidate]) -> list[str]:
    shown = [name for name in SHOWN if any(name in c.estimates for c in ranked)]
    with_truth = any(c.true_return is not None for c in ranked)
    head = ["", *shown, *(["true return"] if with_truth else []), "policy"]
    rows = [head]
    for place, c in enumerate(ranked, 1):
        cells = [_number(c.estimates.get(name)) for name in shown]
        rows.append([str(place), *cells, *([_number(c.true_return)] if with_truth else []), c.name])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    return ["  ".join([*(cell.rjust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]


def _agreement_lines(agreement: Json, k: int) -> list[str]:
    lines = []
    for rule, found in agreement.items():
        rank = "–" if found["spearman"] is None else f"{found['spearman']:.2f}"
        lines.append(f"{rule}: Spearman {rank}, regret@{k} {found['regret']:.1f} over {found['policies']} policies")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
