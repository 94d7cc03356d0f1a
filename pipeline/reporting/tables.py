"""The report's tables: a header and rows of text."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.data.spec import GIVEN, GROUP, LAST, RANDOM, DatasetSpec
from pipeline.ingest.checks.result import CheckResult, evidence_text
from pipeline.ingest.results import Unmeasured
from pipeline.reporting.figures.style import LOSSES
from pipeline.reporting.results import Arrays, Results
from pipeline.reporting.text.formatting import interval, mean_return, number, percent, with_interval
from pipeline.reporting.text.limits import bound_shares
from pipeline.reporting.text.score_lines import label
from pipeline.world_models.results import WorldModelHistory

HELD_OUT = {  # by `dataset.split`
    RANDOM: "random ones",
    LAST: "the last part of the log",
    GROUP: "whole groups",
    GIVEN: "those that the log names",
}
MOST_COLUMNS = 5  # that a cell names


@dataclass(frozen=True)
class Table:
    """Text cells; the header may be empty."""

    header: list[str]
    rows: list[list[str]]


def score_table(results: Results) -> Table:
    """Raw returns, and scores if the dataset has reference returns, each with its own interval. Agents that were not
    run have a row that says so."""
    scored = results.dataset.spec.ref_min_score is not None and results.dataset.spec.ref_max_score is not None
    header = ["agent", *(["score, IQM [95 %]", "score, mean [95 %]"] if scored else []), "return, mean [95 %]"]
    rows = []
    for name in results.evaluation.agents:
        summary = results.summary(name)
        if summary is None:
            rows.append([label(name), *["not run"] * (len(header) - 1), "–", "–"])
            continue
        iqm = with_interval(summary.iqm, summary.iqm_ci95)
        mean = with_interval(summary.mean, summary.mean_ci95)
        scores = [iqm, mean] if scored else []
        rows.append([label(name), *scores, mean_return(summary), f"{summary.episodes:,}", str(summary.seeds)])
    return Table([*header, "episodes", "seeds"], rows)


def dataset_table(results: Results) -> Table:
    """Size, episodes, actions and origin of the logs."""
    spec, returns = results.dataset.spec, results.card.returns
    spread = interval(returns.q05, returns.q95)
    rows = {
        "transitions": f"{spec.transitions:,}",
        "episodes": f"{spec.episodes:,}, {spec.held_out_episodes:,} of them held out: {HELD_OUT[spec.split]}",
        "true terminals": f"{spec.terminals:,} ({percent(spec.terminals / spec.transitions, 2)} of steps)",
        "dropped": f"{spec.dropped:,} steps without a next observation",
        "episode return": f"median {number(returns.median)}, 90\u00a0% of episodes in {spread}",
        "observation size": _observation_size(spec),
        "action size": f"{spec.action_dim} ({spec.action_kind}, bounds {spec.action_bounds})",
        "actions at a bound": _at_a_bound(results.card.action_saturation),
        "drift": _drift(results.check("drift")),
        "environment": spec.env_id or "none",
        "references": _references(spec),
        "license": spec.license or "not stated",
    }
    if spec.exogenous:
        rows["exogenous inputs"] = _exogenous(spec)
    if results.card.unmeasured:
        rows["not measured"] = _not_measured(results.card.unmeasured)
    return pairs(rows)


def checks_table(results: Results, warned: bool) -> Table:
    """The data checks: those that did not pass if ``warned``, else the others."""
    header = ["check", "numbers", "meaning", *(["fix"] if warned else [])]
    return Table(header, [_check_row(check) for check in results.checks if check.passed != warned])


def _check_row(check: CheckResult) -> list[str]:
    name, numbers = check.name.replace("_", " "), evidence_text(check.evidence)
    if not check.passed:
        return [f"{name} ({check.severity})", numbers, check.meaning, check.remedy]
    return [name, numbers, check.meaning]


def _at_a_bound(saturation: list[float]) -> str:
    if not saturation:
        return "discrete: none"
    return f"{percent(sum(saturation) / len(saturation), 1)} of steps, mean over dimensions"


def _drift(check: CheckResult | None) -> str:
    if check is None:
        return "not measured"
    ratio, feature = number(check.evidence["error_ratio"]), check.evidence["feature"]
    measured = f"one-step errors on the last fifth are {ratio} times those on parts before ({feature})"
    return f"{'yes' if check.warns else 'no clear sign' if check.passed else 'open'}: {measured}"


def _exogenous(spec: DatasetSpec) -> str:
    """The features that are given, never predicted."""
    names = [spec.obs_names[key][i] for key, features in spec.exogenous.items() for i in features]
    more = f" and {len(names) - MOST_COLUMNS} more" if len(names) > MOST_COLUMNS else ""
    return f"{', '.join(names[:MOST_COLUMNS])}{more}: given, never predicted"


def _not_measured(columns: dict[str, Unmeasured]) -> str:
    """The columns with the largest shares of old or missing values, and the range of the share over the log."""
    largest = sorted(columns.items(), key=lambda item: -item[1].share)
    texts = [
        f"{name} {percent(column.share)} of rows ({percent(min(column.parts))} to {percent(max(column.parts))} in ten "
        "parts of the log)"
        for name, column in largest[:MOST_COLUMNS]
    ]
    more = f" and {len(largest) - MOST_COLUMNS} more columns" if len(largest) > MOST_COLUMNS else ""
    return ", ".join(texts) + more


def model_table(results: Results) -> Table:
    """One row a seed: how training ended, the best held-out number (mean over elites), the share of outputs at a
    variance bound, and what ends imagined episodes, with its held-out precision and recall."""
    criterion = next(iter(results.world_model.values())).criterion
    header = [
        "seed",
        "epochs",
        "stopped",
        f"best held-out {LOSSES.get(criterion, criterion)}",
        "at low bound",
        "at high bound",
        "termination",
        "precision",
        "recall",
    ]
    return Table(header, [_model_row(seed, history) for seed, history in results.world_model.items()])


def _model_row(seed: int, history: WorldModelHistory) -> list[str]:
    best, ends = history.best, history.termination
    best = [best[i] for i in history.elites] if len(best) > 1 else best
    row = [str(seed), str(len(history.epochs)), history.stopped, number(sum(best) / len(best))]
    row += [percent(share, 1) for share in bound_shares(history) or ()] or ["–", "–"]
    recall = number(ends.recall)
    return [
        *row,
        ends.used,
        number(ends.precision),
        f"{recall} of {ends.positives:,}" if ends.positives else recall,
    ]


def error_tables(results: Results) -> dict[str, Table]:
    """Open-loop errors of observations and of the reward, by title; one row a horizon, so that both fit a phone. Means
    over seeds and, if there are several, the smallest and the largest."""
    errors = list(results.errors.values())
    observation = {
        "world model": _by_horizon([e.model_rmse for e in errors]),
        "linear regression": _by_horizon([e.linear_rmse for e in errors]),
        "persistence": _by_horizon([e.persistence_rmse for e in errors]),
    }
    reward = {
        "world model": _by_horizon([e.reward_mae for e in errors]),
        "linear regression": _by_horizon([e.reward_linear_mae for e in errors]),
        "mean logged reward": _by_horizon([e.reward_baseline_mae for e in errors]),
    }
    horizons = [str(horizon) for horizon in results.first_errors.horizons]
    return {"Observation": _columns("steps", horizons, observation), "Reward": _columns("steps", horizons, reward)}


def _columns(first: str, labels: list[str], columns: dict[str, list[str]]) -> Table:
    """A table of columns by header; empty columns are left out."""
    filled = {header: cells for header, cells in columns.items() if cells}
    return Table([first, *filled], [list(row) for row in zip(labels, *filled.values(), strict=True)])


def _by_horizon(errors: list[list[float]] | list[list[float] | None]) -> list[str]:
    """One cell for each horizon, from errors by seed and horizon; no cell if no seed has errors."""
    cells = []
    for values in zip(*(by_horizon for by_horizon in errors if by_horizon is not None), strict=True):
        mean = number(sum(values) / len(values))
        cells.append(mean if len(values) == 1 else f"{mean} {interval(min(values), max(values))}")
    return cells


def latent_table(results: Results) -> Table:
    """One row a seed: all latents and the active ones; KL, entropies and reconstruction error, means over the steps
    after the context. No row for a model without latents."""
    header = ["seed", "latents", "active", "KL [nats]", "posterior entropy", "prior entropy"]
    header.append(f"reconstruction [{results.error_unit}]")
    return Table(header, [_latent_row(seed, latents) for seed, latents in results.latents.items()])


def _latent_row(seed: int, latents: Arrays) -> list[str]:
    units, classes = len(latents["activity"]), int(latents["classes"])
    later = slice(int(latents["context"]) + 1, None)
    active = int((latents["activity"] > latents["active_above"]).sum())
    keys = ("kl", "posterior_entropy", "prior_entropy", "reconstruction_rmse")
    means = [float(latents[key][later].mean()) if key in latents else None for key in keys]
    kind = f"{units} × {classes} classes" if classes > 1 else f"{units} continuous"
    return [str(seed), kind, f"{active} ({percent(active / units)})", *map(number, means)]


def gap_table(results: Results) -> Table:
    """Imagined and real return over the same number of steps, and their difference."""
    evaluation = results.evaluation
    return pairs(
        {
            "imagined return": number(evaluation.imagined_return),
            "real return over the same horizon": number(evaluation.real_return),
            "exploitation gap (imagined − real)": number(evaluation.exploitation_gap),
            "basis": evaluation.imagination.basis,
        }
    )


def pairs(values: Mapping[str, str]) -> Table:
    """A table of names and values without a header."""
    return Table([], [[name, value] for name, value in values.items()])


def _observation_size(spec: DatasetSpec) -> str:
    images = [f"{key} {' × '.join(map(str, spec.obs_shapes[key]))}" for key in spec.image_keys]
    return ", ".join([*([str(spec.obs_dim)] if spec.vector_keys else []), *images])


def _references(spec: DatasetSpec) -> str:
    if spec.ref_min_score is None or spec.ref_max_score is None:
        return "none, so raw returns only"
    return f"score 0 is {number(spec.ref_min_score)}, score 100 is {number(spec.ref_max_score)} ({spec.ref_source})"
