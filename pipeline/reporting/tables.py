"""The report's tables: a header and rows of text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.data.spec import DatasetSpec
from pipeline.ingest.checks.result import evidence_text
from pipeline.reporting.figures.style import LOSSES
from pipeline.reporting.results import Arrays, Json, Results
from pipeline.reporting.text.formatting import interval, number, percent, with_interval
from pipeline.reporting.text.limits import bound_shares
from pipeline.reporting.text.score_lines import AGENTS

OPEN_LOOP_ROWS = {
    "model_rmse": "observation, world model",
    "linear_rmse": "observation, linear regression",
    "persistence_rmse": "observation, persistence",
    "reward_mae": "reward, world model",
    "reward_linear_mae": "reward, linear regression",
    "reward_baseline_mae": "reward, mean logged reward",
}


@dataclass(frozen=True)
class Table:
    header: list[str]
    rows: list[list[str]]


def score_table(results: Results) -> Table:
    """Scores where references exist, raw returns always; agents that were not run say so."""
    scored = results.dataset.spec.ref_min_score is not None and results.dataset.spec.ref_max_score is not None
    header = ["agent", *(["score, IQM [95 %]", "score, mean"] if scored else []), "return, mean [95 %]"]
    rows = []
    for name in AGENTS:
        summary = results.summary(name)
        if summary is None:
            rows.append([AGENTS[name], *["not run"] * (len(header) - 1), "–", "–"])
            continue
        score = [f"{number(summary['iqm'])} {interval(summary['ci95'])}", number(summary["mean"])] if scored else []
        rows.append([AGENTS[name], *score, with_interval(summary), f"{summary['episodes']:,}", str(summary["seeds"])])
    return Table([*header, "episodes", "seeds"], rows)


def dataset_table(results: Results) -> Table:
    spec, returns = results.dataset.spec, results.card["returns"]
    spread = interval([returns["q05"], returns["q95"]])
    facts = {
        "transitions": f"{spec.transitions:,}",
        "episodes": f"{spec.episodes:,}, {spec.held_out_episodes:,} of them held out",
        "true terminals": f"{spec.terminals:,} ({percent(spec.terminals / spec.transitions, 2)} of steps)",
        "dropped": f"{spec.dropped:,} steps without a next observation",
        "episode return": f"median {number(returns['median'])}, 90\u00a0% of episodes in {spread}",
        "observation size": _observed(spec),
        "action size": f"{spec.action_dim} ({spec.action_kind}, bounds {spec.action_bounds})",
        "actions at a bound": _at_a_bound(results.card["action_saturation"]),
        "environment": spec.env_id or "none",
        "references": _references(spec),
        "license": spec.license or "not stated",
    }
    return pairs(facts)


def findings_table(results: Results, warned: bool) -> Table:
    """What ingest warns of, or what it looked at without a warning."""
    header = ["finding", "numbers", "what it means", *(["what mends it"] if warned else [])]
    found = [f for f in results.findings if (f["severity"] != "info") == warned]
    return Table(header, [_finding_row(f, warned) for f in found])


def _finding_row(found: Json, warned: bool) -> list[str]:
    name = found["name"].replace("_", " ")
    if warned:
        return [f"{name} ({found['severity']})", evidence_text(found["evidence"]), found["meaning"], found["remedy"]]
    return [name, evidence_text(found["evidence"]), found["meaning"]]


def _at_a_bound(saturation: list[float]) -> str:
    return (
        f"{percent(sum(saturation) / len(saturation), 1)} of steps, mean over dimensions"
        if saturation
        else "discrete: none"
    )


def model_table(results: Results) -> Table:
    """One row a seed: how training ended, the best held-out number (the elites' where members differ), the share of
    outputs at a variance bound, and what decides that an imagined episode ends, with its held-out precision and recall.
    """
    criterion = next(iter(results.world_model.values()))["criterion"]
    header = [
        "seed",
        "epochs",
        "stopped",
        f"best held-out {LOSSES.get(criterion, criterion)}",
        "at low bound",
        "at high bound",
    ]
    return Table(
        [*header, "termination", "precision", "recall"],
        [_model_row(seed, history) for seed, history in results.world_model.items()],
    )


def _model_row(seed: int, history: Json) -> list[str]:
    best, ends = history["best"], history["termination"]
    best = [best[i] for i in history["elites"]] if len(best) > 1 else best
    row = [str(seed), str(len(history["epochs"])), history["stopped"], number(sum(best) / len(best))]
    row += [percent(share, 1) for share in bound_shares(history) or ()] or ["–", "–"]
    row += [ends["used"], number(ends.get("precision"))]
    recall = number(ends.get("recall"))
    return [*row, f"{recall} of {ends['positives']:,}" if ends.get("positives") else recall]


def open_loop_table(results: Results) -> Table:
    """Open-loop errors by horizon: the mean over seeds and, of several, the least and the largest."""
    errors = list(results.errors.values())
    header = ["error after steps", *map(str, errors[0]["horizons"])]
    told = {key: label for key, label in OPEN_LOOP_ROWS.items() if key in errors[0]}
    return Table(header, [[label, *_by_horizon(errors, key)] for key, label in told.items()])


def _by_horizon(errors: list[Json], key: str) -> list[str]:
    told = []
    for values in zip(*(e[key] for e in errors), strict=True):
        mean = number(sum(values) / len(values))
        told.append(mean if len(values) == 1 else f"{mean} {interval([min(values), max(values)])}")
    return told


def latent_table(results: Results) -> Table:
    """One row a seed: latents and those that are active; divergence, entropies and reconstruction error, means over
    the steps after the context. No row for a model without latents."""
    header = ["seed", "latents", "active", "KL [nats]", "posterior entropy", "prior entropy"]
    header.append(f"reconstruction [{results.error_unit}]")
    return Table(header, [_latent_row(seed, found) for seed, found in results.latents.items()])


def _latent_row(seed: int, found: Arrays) -> list[str]:
    units, classes, later = len(found["activity"]), int(found["classes"]), slice(int(found["context"]) + 1, None)
    active = int((found["activity"] > found["active_above"]).sum())
    keys = ("kl", "posterior_entropy", "prior_entropy", "reconstruction_rmse")
    means = [float(found[key][later].mean()) if key in found else None for key in keys]
    kind = f"{units} × {classes} classes" if classes > 1 else f"{units} continuous"
    return [str(seed), kind, f"{active} ({percent(active / units)})", *map(number, means)]


def gap_table(results: Results) -> Table:
    evaluation = results.evaluation
    return pairs(
        {
            "imagined return": number(evaluation["imagined_return"]),
            "real return over the same horizon": number(evaluation["real_return"]),
            "exploitation gap (imagined − real)": number(evaluation["exploitation_gap"]),
            "basis": evaluation["imagination"]["basis"],
        }
    )


def pairs(facts: Mapping[str, Any]) -> Table:
    """A table of names and values without a header."""
    return Table([], [[name, str(value)] for name, value in facts.items()])


def _observed(spec: DatasetSpec) -> str:
    images = [f"{key} {' × '.join(map(str, spec.obs_shapes[key]))}" for key in spec.image_keys]
    return ", ".join([*([str(spec.obs_dim)] if spec.vector_keys else []), *images])


def _references(spec: Any) -> str:
    if spec.ref_min_score is None or spec.ref_max_score is None:
        return "none, so raw returns only"
    return f"score 0 is {number(spec.ref_min_score)}, score 100 is {number(spec.ref_max_score)} ({spec.ref_source})"
