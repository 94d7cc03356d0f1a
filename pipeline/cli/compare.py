"""``compare RUN...``: a leaderboard of finished runs, whatever made them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.compared_run import ComparedRun, from_files, in_commit, in_folder
from pipeline.cli.experiment import commit_of, experiment_ref
from pipeline.cli.text_table import aligned
from pipeline.cli.tracked_run import find_parent, from_parent, parents, seconds_of
from pipeline.reporting.leaderboard import Leaderboard, Row

if TYPE_CHECKING:
    from mlflow.entities import Run

MOST_SETTINGS = 4  # that a label names; runs that differ in more are called by their names
EXPLANATION = (
    "Return: mean over the real episodes of all seeds. IQM: mean of their middle half. P(improvement): probability "
    "that an episode has a higher return than one of {reference}; 0.5 is no difference. Intervals: 95 % bootstrap over "
    "seeds, then episodes (Agarwal et al. 2021)."
)
ONE_SEED = "With one seed an interval covers episodes alone: another seed may differ by more."
OFFLINE = "No run has an environment: offline estimates rank the policies, and nothing shows whether they are right."


def compare_runs(names: Sequence[str], folder: Path) -> list[str]:
    """The leaderboard of the named runs, the first of which is the reference; without names of all parent runs of the
    MLflow experiment. Raises ValueError for a name that is no run, and if there is none."""
    tracked = parents()
    runs = [find_run(name, tracked) for name in names] if names else list(map(from_parent, tracked))
    if not runs:
        raise ValueError("the MLflow experiment has no finished run; run `dvc repro`, or name folders or revisions")
    return show(leaderboard("Comparison of runs", labeled(runs)), folder)


def show(board: Leaderboard, folder: Path) -> list[str]:
    """Write the leaderboard to ``folder``; its lines for the terminal."""
    from pipeline.reporting.leaderboard_page import write_leaderboard

    files = write_leaderboard(board, folder)
    table = aligned([board.header, *board.cells], left={board.header.index("run")})
    return [*table, "", f"Ranked by {board.ranked_by}.", *board.notes, *(f"{file}: written" for file in files)]


def find_run(name: str, tracked: "list[Run]") -> ComparedRun:
    """The run that ``name`` means: a folder, a DVC experiment, one of the parents ``tracked``, or a git revision.
    Raises ValueError if it is none of them."""
    if Path(name).is_dir():
        return from_files(name, in_folder(Path(name)), seconds_of)
    if ref := experiment_ref(name):
        return from_files(name, in_commit(ref), seconds_of)
    if parent := find_parent(name, tracked):
        return from_parent(parent)
    if commit := commit_of(name):
        return from_files(name, in_commit(commit), seconds_of)
    fix = "name one of them; `python -m pipeline compare` alone compares all runs of MLflow"
    raise ValueError(f"`{name}` is no folder, DVC experiment, MLflow run or git revision; {fix}")


def labeled(runs: Sequence[ComparedRun]) -> list[ComparedRun]:
    """The runs with names that tell them apart: by the settings in which they differ, if these are few."""
    keys = sorted({key for run in runs for key in run.settings})
    differing = [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]
    by_settings = [", ".join(f"{key}={run.settings.get(key, 'default')}" for key in differing) for run in runs]
    names = by_settings if 0 < len(differing) <= MOST_SETTINGS else [run.name for run in runs]
    numbers = [names[: i + 1].count(name) for i, name in enumerate(names)]
    unique = [f"{name} ({n})" if names.count(name) > 1 else name for name, n in zip(names, numbers, strict=True)]
    return [replace(run, name=name) for run, name in zip(runs, unique, strict=True)]


def leaderboard(title: str, runs: Sequence[ComparedRun]) -> Leaderboard:
    """The runs ranked by mean return, or by the lower bound of fitted Q evaluation where no return was measured; the
    first of ``runs`` is the reference."""
    measured = any(run.return_mean is not None for run in runs)
    reference = runs[0]

    def rank(run: ComparedRun) -> float:
        value = run.return_mean if measured else run.estimates.get("fqe_low")
        return float("inf") if value is None else -value

    rows = [_row(i, run, reference) for i, run in enumerate(sorted(runs, key=rank), 1)]
    ranked_by = "mean return" if measured else "the lower bound of fitted Q evaluation (FQE)"
    notes = [EXPLANATION.format(reference=reference.name)] if measured else [OFFLINE]
    return Leaderboard(title, ranked_by, rows, [*notes, *_cautions(runs, measured)])


def _row(place: int, run: ComparedRun, reference: ComparedRun) -> Row:
    from pipeline.evaluation.improvement import improvement_ci, probability_of_improvement
    from pipeline.evaluation.statistics import bootstrap_ci, iqm

    returns = run.returns
    others = None if run is reference else reference.returns
    pair = None if returns is None or others is None else (returns, others)
    return Row(
        place=place,
        name=run.name,
        reference=run is reference,
        status=run.status,
        seeds=run.seeds,
        episodes=run.episodes if returns is None else int(returns.size),
        return_mean=run.return_mean,
        return_ci=run.return_ci or (None if returns is None else bootstrap_ci(returns, "mean")),
        iqm=None if returns is None else iqm(returns),
        iqm_ci=None if returns is None else bootstrap_ci(returns, "iqm"),
        improvement=None if pair is None else probability_of_improvement(*pair),
        improvement_ci=None if pair is None else improvement_ci(*pair),
        estimates=run.estimates,
        seconds=run.seconds,
    )


def _cautions(runs: Sequence[ComparedRun], measured: bool) -> list[str]:
    """What makes the comparison weak or incomplete."""
    cautions = [line for run in runs for line in run.missing]
    datasets = sorted({run.dataset for run in runs if run.dataset})
    if len(datasets) > 1:
        cautions.append(f"The runs have different data ({', '.join(datasets)}): their returns may not be comparable.")
    if measured and any(run.seeds == 1 for run in runs):
        cautions.append(ONE_SEED)
    return cautions
