"""``select``: rank policies by offline estimates; with true returns, report how well the ranking agrees."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.text_table import aligned

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Json = dict[str, Any]
RULES = {
    "fqe_low": "lower bound of fitted Q evaluation",
    "fqe": "fitted Q evaluation",
    "model": "return in the world model, discounted",
    "model_low": "the lowest member's return in the world model",
    "model_pessimistic": "return in the world model minus the penalty",
    "model_pessimistic_low": "the lowest member's return minus the penalty",
    "importance": "importance weighting",
}
REAL_SEED = 10_000  # of the first real episode, as in stage evaluate
COLUMNS = ("fqe", "fqe_low", "model", "model_pessimistic", "importance")


@dataclass(frozen=True)
class Candidate:
    """A policy, its estimates by name, and the mean return of its real episodes; None without any."""

    name: str
    estimates: dict[str, float]
    true_return: float | None


def check_rule(by: str) -> None:
    """Raises ValueError for a rule that is not in ``RULES``."""
    from pipeline.validation import did_you_mean

    if by not in RULES:
        raise ValueError(f"rule `{by}` is unknown{did_you_mean(by, RULES)}")


def select_policy(candidates: Sequence[Candidate], by: str, k: int, file: Path | None) -> list[str]:
    """The ranking as lines of a table, best first, and with true returns the rank correlation and regret@k of every
    rule. The numbers go to ``file`` as JSON. Raises ValueError for an unknown rule, or if no policy has it."""
    check_rule(by)
    estimated = [c for c in candidates if by in c.estimates]
    if not estimated:
        raise ValueError(f"none of {len(candidates)} policies has the estimate `{by}`; run the stage evaluate_offline")
    ranked = sorted(estimated, key=lambda c: -c.estimates[by])
    evaluated = [c for c in candidates if c.true_return is not None]
    agreement = {rule: row for rule in RULES if (row := _agreement(evaluated, rule, k))}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        policies = [vars(c) for c in ranked]
        file.write_text(json.dumps({"by": by, "policies": policies, "agreement": agreement}, indent=2) + "\n")
    without = [f"no `{by}`: {c.name}" for c in candidates if c not in estimated]
    return [*_table(ranked), *without, f"ranked by {by}: {RULES[by]}", *_agreement_lines(agreement, k)]


def candidates_of_bundles(
    bundles: Sequence[Path], dataset: Path, world_model: Path, episodes: int, seed: int
) -> list[Candidate]:
    """Bundles evaluated now, with the options of block ``offline`` in params.yaml and ``episodes`` real episodes each.

    Raises ValueError for a bundle that is refused, and for real episodes without an environment.
    """
    from pipeline.data.dataset import open_dataset
    from pipeline.envs.permission import allow_named
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
    allow_named(params)
    set_up_torch(build(TrainerConfig, section(params, "trainer"), "trainer"))
    config = build(OfflineConfig, section(params, "offline"), "offline")
    logs = open_dataset(dataset)
    agents = [(str(bundle), load_agent(bundle)) for bundle in bundles]
    if episodes > 0 and logs.spec.env_id is None:
        raise ValueError("the logs name no environment; leave --episodes out")
    evaluator = PolicyEvaluator(logs, load_world_model(world_model), config, seed)
    candidates = []
    for name, agent in agents:
        print(f"evaluating {name}", flush=True)
        true_return = None
        if episodes > 0:
            results = run_episodes(agent, logs.spec.env_id or "", logs.spec.env_kwargs, episodes, REAL_SEED)
            true_return = float(results.returns.mean())
        candidates.append(Candidate(name, flat(evaluator(agent)), true_return))
    return candidates


def candidates_of_experiment() -> list[Candidate]:
    """Every policy with a finished ``evaluate_offline`` run in the MLflow experiment, on the dataset and with the
    ``offline`` options of the newest such run. True returns come from ``evaluate`` runs of the same weights. Raises
    ValueError without any policy."""
    from pipeline.tracking.store import client, experiment_name, tracking_uri

    uri = tracking_uri()
    store = client(uri)
    experiment = store.get_experiment_by_name(experiment_name())
    runs = _finished(store, experiment.experiment_id) if experiment else []
    estimates = [r for r in runs if r.data.tags.get("pipeline.stage") == "evaluate_offline"]
    if not estimates:
        raise ValueError(f"no finished run of evaluate_offline in {uri}; run `dvc repro`, or list bundles")
    newest: dict[str, Run] = {}
    for run in estimates:
        if _basis(run) == _basis(estimates[0]):
            newest.setdefault(run.data.params["policy_sha256"], run)
    returns = _true_returns(runs)
    names = _names(list(newest.values()))
    return [
        Candidate(names[run.info.run_id], _estimates(run.data.metrics), returns.get(digest))
        for digest, run in newest.items()
    ]


def _finished(store: "MlflowClient", experiment: str) -> "list[Run]":
    """All finished runs, newest first."""
    runs: list[Run] = []
    token = None
    while True:
        page = store.search_runs([experiment], "attributes.status = 'FINISHED'", max_results=1000, page_token=token)
        runs += list(page)
        token = page.token
        if not token:
            return runs


def _basis(run: "Run") -> tuple[list[str], dict[str, str]]:
    """Dataset and options of an estimate; only estimates with the same basis can be compared."""
    from pipeline.tracking.assets import logged_datasets

    digests = [dataset.digest for dataset in logged_datasets(run)]
    return digests, {k: v for k, v in run.data.params.items() if k.startswith("offline.")}


def _true_returns(runs: "Sequence[Run]") -> dict[str, float]:
    """Mean return by the digest of the policy's weights, from the newest ``evaluate`` run of these weights."""
    returns: dict[str, float] = {}
    for run in runs:
        for key, digest in run.data.params.items():
            metric = f"evaluate/{key.removeprefix('policy_sha256.')}/return"
            if key.startswith("policy_sha256.") and metric in run.data.metrics:
                returns.setdefault(digest, run.data.metrics[metric])
    return returns


def _estimates(metrics: Json) -> dict[str, float]:
    return {k.removeprefix("offline/"): v for k, v in metrics.items() if k.startswith("offline/")}


def _names(runs: "Sequence[Run]") -> dict[str, str]:
    """Each run by the params in which the runs differ, and its seed."""
    params = [{k: v for k, v in run.data.params.items() if k != "policy_sha256"} for run in runs]
    keys = sorted({k for p in params for k in p if len({q.get(k) for q in params}) > 1})
    return {
        run.info.run_id: ", ".join([*(f"{k} {p[k]}" for k in keys if k in p), f"seed {run.data.tags['pipeline.seed']}"])
        for run, p in zip(runs, params, strict=True)
    }


def _agreement(evaluated: Sequence[Candidate], rule: str, k: int) -> Json | None:
    from pipeline.ope.ranking import rank_correlation, regret_at

    estimated = [c for c in evaluated if rule in c.estimates]
    if len(estimated) < 2:
        return None
    values = [c.estimates[rule] for c in estimated]
    returns = [float(c.true_return or 0.0) for c in estimated]
    regret = regret_at(min(k, len(estimated)), values, returns)
    return {"policies": len(estimated), "spearman": rank_correlation(values, returns), "regret": regret}


def _table(ranked: Sequence[Candidate]) -> list[str]:
    columns = [name for name in COLUMNS if any(name in c.estimates for c in ranked)]
    with_truth = any(c.true_return is not None for c in ranked)
    head = ["", *columns, *(["true return"] if with_truth else []), "policy"]
    rows = [head]
    for place, c in enumerate(ranked, 1):
        cells = [_number(c.estimates.get(name)) for name in columns]
        rows.append([str(place), *cells, *([_number(c.true_return)] if with_truth else []), c.name])
    return aligned(rows, left={len(head) - 1})


def _agreement_lines(agreement: Json, k: int) -> list[str]:
    lines = []
    for rule, row in agreement.items():
        rank = "–" if row["spearman"] is None else f"{row['spearman']:.2f}"
        lines.append(f"{rule}: Spearman {rank}, regret@{k} {row['regret']:.1f} over {row['policies']} policies")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
