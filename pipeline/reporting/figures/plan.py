"""Example plans of a planner, and what its world model predicts for them."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.envs.action_space import DISCRETE, actions_of
from pipeline.reporting.figures.style import panels
from pipeline.reporting.results import Results


def plans_figure(results: Results) -> Figure | None:
    """Reward, penalty and first action along the plans of the first seed; None for a policy that does not plan."""
    plans = results.policy[results.seeds[0]].plans
    if plans is None:
        return None
    spec = results.dataset.spec
    action = actions_of(spec).denormalize(np.array(plans.action))
    discrete = spec.action_kind == DISCRETE
    panel_values = {
        "predicted reward": np.array(plans.reward),
        "predicted penalty [reward]": np.array(plans.penalty),
        "action, by number" if discrete else spec.action_label(0): action if discrete else action[..., 0],
    }
    figure, grid = panels(f"Plans: {results.title}", len(panel_values), columns=3, height=2.4)
    alive = np.array(plans.alive, bool)
    for axes, (label, values) in zip(grid, panel_values.items(), strict=True):
        axes.plot(np.arange(1, alive.shape[1] + 1), np.where(alive, values, np.nan).T, marker=".")
        axes.set(xlabel="step of the plan", title=label)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if discrete:
        grid[-1].yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure
