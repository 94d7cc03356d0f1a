"""Return against dataset size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.results import LOGGED, Interval, ScoreSummary
from pipeline.reporting.figures.style import COLORS, agent_color, panels
from pipeline.reporting.text.score_lines import label


@dataclass(frozen=True)
class ShareResult:
    """Results of one run on a share of the training episodes."""

    share: float
    name: str  # of the dataset
    digest: str
    seeds: list[int]
    train_episodes: int
    train_transitions: int
    scores: dict[str, ScoreSummary]  # of the policy, the baselines and the logs


@dataclass(frozen=True)
class Measure:
    """A number with its own interval, and the axis label."""

    value: Callable[[ScoreSummary], float | None]
    interval: Callable[[ScoreSummary], Interval | None]
    label: str

    def of(self, score: ScoreSummary) -> tuple[float, float, float]:
        """The number, and the lower and upper bound of its interval."""
        value, bounds = self.value(score), self.interval(score)
        assert value is not None
        assert bounds is not None
        return value, *bounds


RETURN = Measure(
    lambda score: score.return_mean,
    lambda score: score.return_mean_ci95,
    "mean return [sum of rewards], 95 % interval",
)
SCORE = Measure(lambda score: score.iqm, lambda score: score.iqm_ci95, "normalized score, IQM, 95 % interval")


def efficiency_figure(results: Sequence[ShareResult]) -> Figure:
    """Policy and baselines over the number of training transitions, beside the logs of the largest share; also
    normalized if the dataset has reference returns. ``results`` has the smallest share first."""
    largest = results[-1]
    measures = [RETURN] if largest.scores["policy"].iqm is None else [RETURN, SCORE]
    seeds = ", ".join(map(str, largest.seeds))
    noun = "seed" if len(largest.seeds) == 1 else "seeds"
    figure, grid = panels(f"Sample efficiency: {largest.name}, {noun} {seeds}", len(measures), height=4.0)
    for axes, measure in zip(grid, measures, strict=True):
        for agent in (agent for agent in largest.scores if agent != LOGGED):
            _curve(axes, results, agent, measure)
        _line(axes, largest.scores[LOGGED], measure)
        _label(axes, results, measure.label)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _curve(axes: Axes, results: Sequence[ShareResult], agent: str, measure: Measure) -> None:
    points = [measure.of(result.scores[agent]) for result in results]
    # The interval of equal returns can exclude their mean by a rounding error.
    below = [max(value - low, 0.0) for value, low, _ in points]
    above = [max(high - value, 0.0) for value, _, high in points]
    axes.errorbar(
        [result.train_transitions for result in results],
        [value for value, _, _ in points],
        [below, above],
        color=agent_color(agent),
        label=label(agent),
        marker="o",
        capsize=3,
    )


def _line(axes: Axes, logged: ScoreSummary, measure: Measure) -> None:
    value, low, high = measure.of(logged)
    axes.axhline(value, color=COLORS["logged"], linestyle="--", label=label(LOGGED))
    axes.axhspan(low, high, color=COLORS["logged"], alpha=0.12, linewidth=0)


def _label(axes: Axes, results: Sequence[ShareResult], label: str) -> None:
    axes.set(xscale="log", xlabel="logged transitions, and share of training episodes", ylabel=label)
    ticks = {
        result.train_transitions: f"{result.train_transitions:,}\n{100 * result.share:.3g} %" for result in results
    }
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
