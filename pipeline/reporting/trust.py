"""How far a world model can be trusted: numbers and tables, means over the seeds where there are several."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.assessment.results import FeatureError, Reliability
from pipeline.evaluation.results import VisitedSeed
from pipeline.reporting.results import Results
from pipeline.reporting.tables import Table
from pipeline.reporting.text.formatting import fixed, number, percent

TABLE_LEVELS = [0.5, 0.8, 0.9, 0.95]


@dataclass(frozen=True)
class PenaltySummary:
    """One penalty, means over seeds. All numbers but ``visited`` are None for a penalty that is only defined on the
    policy's own steps, and then ``along`` is empty."""

    kind: str  # aleatoric, epistemic or total
    spearman: float | None  # with the error of one held-out step
    auc: float | None
    score: float | None
    scale: float | None  # times the penalty: the expected error
    visited: float | None  # rank correlation on the policy's own steps; None if the policy was not run
    along: dict[int, float | None]  # rank correlation of its sum along rollouts, by horizon


@dataclass(frozen=True)
class OutputCoverage:
    """Coverage of one output's central interval, and its temperature; means over seeds."""

    before: float  # share of targets inside
    after: float  # the same after recalibration
    temperature: float


def mean(over_seeds: Iterable[float]) -> float:
    """The mean over at least one seed."""
    return float(np.mean(list(over_seeds)))


def mean_of(over_seeds: Iterable[float | None]) -> float | None:
    """The mean, or None if a seed has no number or there are no seeds."""
    values = list(over_seeds)
    numbers = [value for value in values if value is not None]
    return mean(numbers) if numbers and len(numbers) == len(values) else None


def penalties(results: Results) -> dict[str, PenaltySummary]:
    """All penalties, the best first; at the end those that are only defined on the policy's own steps."""
    by_seed = [errors.penalties for errors in results.errors.values()]
    visited = visited_seeds(results)
    summaries = {}
    for name, first in by_seed[0].items():
        summaries[name] = PenaltySummary(
            kind=first.kind,
            spearman=mean_of(p[name].spearman for p in by_seed),
            auc=mean(p[name].auc for p in by_seed),
            score=mean(p[name].score for p in by_seed),
            scale=mean_of(c.penalties[name].scale for c in results.calibration.values()),
            visited=mean_of(v.penalties[name].spearman for v in visited),
            along={
                h: mean_of(p[name].rollout.sum.spearman[i] for p in by_seed)
                for i, h in enumerate(first.rollout.horizons)
            },
        )
    best_first = dict(sorted(summaries.items(), key=lambda item: -(item[1].score or 0.0)))
    return best_first | {name: p for name, p in _of_the_policy(visited).items() if name not in summaries}


def ranked_on_logs(results: Results) -> dict[str, PenaltySummary]:
    """Those of :func:`penalties` that are measured on held-out logs."""
    return {name: penalty for name, penalty in penalties(results).items() if penalty.score is not None}


def _of_the_policy(visited: list[VisitedSeed]) -> dict[str, PenaltySummary]:
    """All penalties measured on the policy's own steps, with nothing but that number."""
    if not visited:
        return {}
    return {
        name: PenaltySummary(
            kind=first.kind,
            spearman=None,
            auc=None,
            score=None,
            scale=None,
            visited=mean_of(v.penalties[name].spearman for v in visited),
            along={},
        )
        for name, first in visited[0].penalties.items()
    }


def penalty_table(results: Results) -> Table:
    """The best penalty first: rank correlations with errors of one step, along rollouts, and on the policy's steps."""
    summaries = penalties(results)
    horizons = [h for h in next(iter(summaries.values())).along if h > 1]
    with_visited = bool(visited_seeds(results))
    where = ["policy's states"] if with_visited else []
    header = ["penalty", "measures", "one step", *(f"{h} steps" for h in horizons), *where, "AUC", "scale", "score"]
    rows = []
    for name, penalty in summaries.items():
        ranks = [penalty.spearman, *(penalty.along.get(h) for h in horizons)]
        ranks += [penalty.visited] if with_visited else []
        cells = [*map(fixed, ranks), fixed(penalty.auc), number(penalty.scale), fixed(penalty.score)]
        rows.append([name, penalty.kind or "–", *cells])
    return Table(header, rows)


def feature_table(results: Results) -> Table:
    """The largest error first, with the coverage of 90 % intervals if the model predicts features."""
    errors, coverage = features(results), intervals(results)
    with_coverage = any(name in coverage for name in errors)
    header = ["feature", "RMSE", "linear", "persistence", "R²", "R², linear"]
    header += ["in 90 % interval", "recalibrated", "temperature"] if with_coverage else []
    rows = []
    for name, error in errors.items():
        row = [name, number(error.rmse), number(error.linear_rmse), number(error.persistence_rmse)]
        row += [fixed(error.r2, 3), fixed(error.linear_r2, 3)]
        rows.append([*row, *(_coverage_cells(coverage.get(name)) if with_coverage else [])])
    return Table(header, rows)


def _coverage_cells(coverage: OutputCoverage | None) -> list[str]:
    if coverage is None:
        return ["–"] * 3
    return [percent(coverage.before), percent(coverage.after), number(coverage.temperature)]


def shift_table(results: Results) -> Table:
    """The model on held-out logs, and on the policy's own steps if it was run."""
    header = ["where", "steps", "step error [reward]", *(f"{percent(level)} interval" for level in TABLE_LEVELS)]
    samples = list(results.samples.values())
    error = mean(float(s["true_error"].mean()) for s in samples)
    steps = f"{sum(len(s['true_error']) for s in samples):,}"
    covered = [mean_of(_coverage(r, level) for r in results.measured_reliability) for level in TABLE_LEVELS]
    rows = [["held-out logs", steps, number(error), *map(percent, covered)]]
    if visited := visited_seeds(results):
        steps = f"{sum(v.steps for v in visited):,}"
        error = mean(v.true_error for v in visited)
        covered = [visited_coverage(results, level) for level in TABLE_LEVELS]
        rows.append(["policy's own episodes", steps, number(error), *map(percent, covered)])
    return Table(header, rows)


def reliability_table(results: Results) -> Table:
    """Likelihood and coverage on the evaluated half of the held-out episodes, means over outputs and seeds, before and
    after recalibration; no row if there are no intervals."""
    measured = results.measured_reliability
    header = ["on the evaluated half", "NLL of an output [nats]"]
    header += [f"{percent(level)} interval" for level in TABLE_LEVELS]
    if not measured:
        return Table(header, [])
    before = [percent(mean(_coverage(r, level) for r in measured)) for level in TABLE_LEVELS]
    after = [percent(mean(_coverage(r, level, recalibrated=True) for r in measured)) for level in TABLE_LEVELS]
    rows = [
        ["as learned", number(mean(mean(r.nll_before) for r in measured)), *before],
        ["recalibrated", number(mean(mean(r.nll_after) for r in measured)), *after],
        ["a single normal", number(mean(mean(r.nll_constant) for r in measured)), *["–"] * len(TABLE_LEVELS)],
    ]
    return Table(header, rows)


def features(results: Results) -> dict[str, FeatureError]:
    """Means over seeds by feature, the largest error first."""
    by_seed = [{error.name: error for error in errors.features} for errors in results.errors.values()]
    names = [name for name in by_seed[0] if all(name in seed for seed in by_seed)]
    means = {
        name: FeatureError(
            name=name,
            rmse=mean(seed[name].rmse for seed in by_seed),
            persistence_rmse=mean(seed[name].persistence_rmse for seed in by_seed),
            linear_rmse=mean_of(seed[name].linear_rmse for seed in by_seed),
            r2=mean(seed[name].r2 for seed in by_seed),
            linear_r2=mean_of(seed[name].linear_r2 for seed in by_seed),
        )
        for name in names
    }
    return dict(sorted(means.items(), key=lambda item: -item[1].rmse))


def intervals(results: Results, level: float = 0.9) -> dict[str, OutputCoverage]:
    """Coverage of the central interval of ``level`` by output; empty if there are no intervals."""
    measured = results.measured_reliability
    if not measured:
        return {}
    at = measured[0].levels.index(level)
    return {
        name: OutputCoverage(
            before=mean(r.coverage_before[at][i] for r in measured),
            after=mean(r.coverage_after[at][i] for r in measured),
            temperature=mean(r.temperature[i] for r in measured),
        )
        for i, name in enumerate(measured[0].outputs)
    }


def visited_seeds(results: Results) -> list[VisitedSeed]:
    """The model of each seed on its policy's own steps; empty if no policy was run."""
    visited = results.evaluation.visited
    return [] if visited is None else visited.by_seed


def visited_coverage(results: Results, level: float = 0.9) -> float | None:
    """Coverage on the policy's own steps, mean over seeds; None if there are no intervals or no policy was run."""
    visited = results.evaluation.visited
    if visited is None:
        return None
    at = visited.levels.index(level)
    return mean_of(None if seed.coverage is None else seed.coverage[at] for seed in visited.by_seed)


def _coverage(reliability: Reliability, level: float, recalibrated: bool = False) -> float:
    """Mean over outputs."""
    coverage = reliability.coverage_after if recalibrated else reliability.coverage_before
    return mean(coverage[reliability.levels.index(level)])
