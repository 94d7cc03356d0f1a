"""``efficiency``: run the pipeline on shares of the training episodes, and plot return against dataset size."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.experiment import read_result, run_experiment
from pipeline.data.dataset import open_dataset
from pipeline.ingest.sources.environment import NONE
from pipeline.params import read_params, section

if TYPE_CHECKING:
    from pipeline.reporting.figures.efficiency import ShareResult

Json = dict[str, Any]
NO_ENVIRONMENT = "returns cannot be measured without an environment; set `dataset.env_id` in params.yaml"


def measure_efficiency(shares: Sequence[float], file: Path) -> Iterator[str]:
    """Run each share of the training episodes as a DVC experiment, the smallest first, and plot returns against logged
    transitions in ``file`` (PNG), with the numbers as JSON in the same folder. Yields lines of progress. Experiments
    of the same files are not run again.

    Raises ValueError for impossible shares, without a git commit, a DVC project or an environment, and if a run fails.
    """
    distinct = sorted(set(shares))
    if not distinct or not all(0 < share <= 1 for share in distinct):
        raise ValueError(f"shares {list(shares)}: give one or more above 0 and at most 1, such as 0.1 0.25 0.5 1.0")
    _check_environment()
    results: list[ShareResult] = []
    for number, share in enumerate(distinct, 1):
        name = f"efficiency-{share:g}"
        yield f"share {share:g} ({number} of {len(distinct)}): experiment {name}"
        ref, new = run_experiment(name, {"dataset.train_share": str(share)})
        read = (read_result(ref, f"reports/metrics/{part}.json") for part in ("dataset", "evaluate"))
        results.append(summarize(share, *read))
        yield _line(results[-1]) + ("" if new else " (run before)")
    write_efficiency(results, file)
    yield f"{file}: written"


def write_efficiency(results: Sequence["ShareResult"], file: Path) -> None:
    """``file`` (PNG) and its JSON, from one result for each share as :func:`summarize` gives it."""
    import matplotlib

    from pipeline.reporting.figures.efficiency import efficiency_figure
    from pipeline.reporting.figures.style import RC, save

    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps({"runs": [asdict(result) for result in results]}, indent=2) + "\n")
    with matplotlib.rc_context(RC):
        save(efficiency_figure(results), file)


def summarize(share: float, dataset: Json, evaluation: Json) -> "ShareResult":
    """The result of one share, from the contents of dataset.json and evaluate.json. Raises ValueError if there was no
    environment."""
    from pydantic import TypeAdapter

    from pipeline.evaluation.results import LOGGED, ScoreSummary
    from pipeline.reporting.figures.efficiency import ShareResult

    if evaluation["scores"]["policy"] is None:
        raise ValueError(NO_ENVIRONMENT)
    adapter = TypeAdapter(ScoreSummary)
    return ShareResult(
        share=share,
        name=dataset["name"],
        digest=dataset["digest"],
        seeds=evaluation["seeds"],
        train_episodes=dataset["episodes"] - dataset["held_out_episodes"],
        train_transitions=dataset["train_transitions"],
        scores={
            agent: adapter.validate_python(evaluation["scores"][agent]) for agent in (*evaluation["learners"], LOGGED)
        },
    )


def _check_environment() -> None:
    """Raises ValueError if neither params.yaml nor the prepared dataset names an environment."""
    prepared = Path("data/dataset")
    if not prepared.is_dir() or open_dataset(prepared).spec.env_id:
        return
    if str(section(read_params(), "dataset").get("env_id") or NONE).lower() == NONE:
        raise ValueError(NO_ENVIRONMENT)


def _line(result: "ShareResult") -> str:
    returns = ", ".join(f"{agent} {score.return_mean:.4g}" for agent, score in result.scores.items())
    return f"share {result.share:g}: {result.train_transitions:,} transitions, return: {returns}"
