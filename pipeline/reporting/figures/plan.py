"""What a planner plans, and what its world model expects of it."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.reporting.figures.style import panels
from pipeline.reporting.results import Results

PANELS = {"reward": "predicted reward", "penalty": "predicted penalty [reward]", "action": "first action [-1 to 1]"}


def plans_figure(results: Results) -> Figure | None:
    """Reward, penalty and first action along the plans of the first seed; None for a policy that does not plan."""
    plans = results.policy[results.seeds[0]].get("plans")
    if plans is None:
        return None
    figure, grid = panels(f"Plans: {results.title}", len(PANELS), columns=3, height=2.4)
    alive = np.array(plans["alive"], bool)
    for axes, (name, label) in zip(grid, PANELS.items(), strict=True):
        values = np.array(plans[name]).reshape(*alive.shape, -1)[..., 0]
        axes.plot(np.arange(1, alive.shape[1] + 1), np.where(alive, values, np.nan).T, marker=".")
        axes.set(xlabel="step of the plan", title=label)
    return figure
