"""Example plans of a planner, and what its world model predicts for them."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.reporting.figures.style import panels
from pipeline.reporting.results import Results


def plans_figure(results: Results) -> Figure | None:
    """Reward, penalty and first action along the plans of the first seed; None for a policy that does not plan."""
    plans = results.policy[results.seeds[0]].plans
    if plans is None:
        return None
    panel_values = {
        "predicted reward": np.array(plans.reward),
        "predicted penalty [reward]": np.array(plans.penalty),
        "first action [-1 to 1]": np.array(plans.action)[..., 0],
    }
    figure, grid = panels(f"Plans: {results.title}", len(panel_values), columns=3, height=2.4)
    alive = np.array(plans.alive, bool)
    for axes, (label, values) in zip(grid, panel_values.items(), strict=True):
        axes.plot(np.arange(1, alive.shape[1] + 1), np.where(alive, values, np.nan).T, marker=".")
        axes.set(xlabel="step of the plan", title=label)
    return figure
