"""What each figure shows, in words and numbers, for readers who cannot see it."""

from collections.abc import Callable, Iterable

import numpy as np

from pipeline.assessment.results import ModelErrors
from pipeline.policies.history import PolicyHistory
from pipeline.reporting.figures.style import LOSSES
from pipeline.reporting.results import Arrays, Results
from pipeline.reporting.text.formatting import fixed, interval, mean_return, number, percent
from pipeline.reporting.text.score_lines import label
from pipeline.reporting.trust import intervals, mean, ranked_on_logs
from pipeline.validation import counted

LEVEL = 0.9  # of the intervals whose coverage is stated


def _scores(results: Results) -> str:
    scores = {label(name): score for name in results.evaluation.agents if (score := results.summary(name))}
    return f"Mean return: {_listed((name, mean_return(score)) for name, score in scores.items())}."


def _dataset(results: Results) -> str:
    dataset = results.dataset
    episodes = f"{dataset.spec.episodes:,} logged episodes"
    rewards = interval(dataset.spec.reward_min, dataset.spec.reward_max)
    returns, lengths = _mean_and_range(dataset.episode_returns("all")), _mean_and_range(dataset.episode_lengths("all"))
    return f"{episodes}. Return: {returns}. Length in steps: {lengths}. Rewards lie in {rewards}."


def _actions(results: Results) -> str:
    spec, saturation = results.dataset.spec, results.card.action_saturation
    shares = _listed((spec.action_label(i), percent(share)) for i, share in enumerate(saturation))
    return f"Share of steps in which an action is at a bound: {shares}."


def _checks(results: Results) -> str:
    warned = [check.name.replace("_", " ") for check in results.checks if check.warns]
    names = f": {', '.join(warned)}" if warned else ""
    return f"{len(warned)} of {counted(len(results.checks), 'data check')} warn{names}."


def _frames(results: Results) -> str:
    length = int(results.dataset.episode_lengths("all")[0])
    return f"Frames of the first logged episode, which has {counted(length, 'step')}."


def _world_model(results: Results) -> str:
    histories = results.world_model.values()
    criterion = next(iter(histories)).criterion
    first = mean(float(np.mean(h.epochs[0][f"held_out_{criterion}"])) for h in histories)
    best = mean(min(float(np.mean(epoch[f"held_out_{criterion}"])) for epoch in h.epochs) for h in histories)
    epochs = " and ".join(str(len(h.epochs)) for h in histories)
    label = LOSSES.get(criterion, criterion)
    return f"Held-out {label}: {number(first)} after the first epoch, {number(best)} at its best, in {epochs} epochs."


def _open_loop(results: Results) -> str:
    horizons = results.first_errors.horizons
    sentences = [f"{_errors_at(results, i, h)}" for i, h in ((0, horizons[0]), (-1, horizons[-1]))]
    trusted = min(e.trust.horizon for e in results.errors.values())
    return f"Error of observations: {'; '.join(sentences)}. Trusted horizon: {counted(trusted, 'step')}."


def _errors_at(results: Results, i: int, horizon: int) -> str:
    def over_seeds(pick: Callable[[ModelErrors], list[float]]) -> str:
        return number(mean(pick(e)[i] for e in results.errors.values()))

    model, persistence = over_seeds(lambda e: e.model_rmse), over_seeds(lambda e: e.persistence_rmse)
    return f"after {counted(horizon, 'step')} {model} for the world model and {persistence} for persistence"


def _imagined_frames(results: Results) -> str:
    errors = results.first_errors
    ends = ((errors.model_rmse[i], counted(errors.horizons[i], "step")) for i in (0, -1))
    numbers = ", ".join(f"{number(error)} after {steps}" for error, steps in ends)
    return f"Error of imagined frames: {numbers} [{results.error_unit}]."


def _trajectories(results: Results) -> str:
    latents, keys = _latents(results), results.dataset.spec.vector_keys
    apart = [np.abs(latents[f"predicted_{k}"] - latents[f"true_{k}"])[:, int(latents["context"]) + 1 :] for k in keys]
    names = [name for k in keys for name in results.dataset.spec.obs_names[k]]
    errors = np.concatenate([a.mean((0, 1)) for a in apart])
    return f"Mean distance of prediction and truth: {_listed(zip(names[:6], map(number, errors[:6]), strict=True))}."


def _latent_steps(results: Results) -> str:
    latents = _latents(results)
    after = latents["kl"][int(latents["context"]) + 1 :]
    return f"KL divergence of posterior and prior: {number(float(after.mean()))} nats on average after the context."


def _latent_states(results: Results) -> str:
    latents = _latents(results)
    active = int((latents["activity"] > latents["active_above"]).sum())
    first, second = latents["shares"]
    shares = f"{percent(float(first))} and {percent(float(second))}"
    return f"{active} of {len(latents['activity'])} latents are active; two components hold {shares} of the variance."


def _reliability(results: Results) -> str:
    outputs = intervals(results, LEVEL).values()
    before, after = percent(mean(o.before for o in outputs)), percent(mean(o.after for o in outputs))
    return f"{percent(LEVEL)} intervals contain {before} of held-out targets, and {after} after recalibration."


def _penalty(results: Results) -> str:
    ranked = ranked_on_logs(results)
    return f"Rank correlation with the error: {_listed((n, fixed(p.spearman)) for n, p in ranked.items())}."


def _rollouts(results: Results) -> str:
    ranked = ranked_on_logs(results)
    last = max(next(iter(ranked.values())).along)
    pairs = ((name, fixed(penalty.along[last])) for name, penalty in ranked.items())
    return f"Rank correlation of the sum with the error after {counted(last, 'step')}: {_listed(pairs)}."


def _film(results: Results) -> str:
    film = results.film
    returned, steps = number(float(film["episode_return"])), counted(int(film["steps"]), "step")
    return f"{len(film['frames'])} frames of a real episode that returns {returned} in {steps}."


def _policy(results: Results) -> str:
    return _changes(results.policy, {"return_mean": "real return", "q_mean": "critics' mean value"})


def _baselines(results: Results) -> str:
    return " ".join(f"{label(name)}: {_all_changes(histories)}" for name, histories in results.baselines.items())


def _all_changes(histories: dict[int, PolicyHistory]) -> str:
    keys = {key for history in histories.values() for row in history.rows for key in row} - {"update"}
    return _changes(histories, {key: key.replace("_", " ") for key in sorted(keys)})


def _plans(results: Results) -> str:
    plans = results.policy[results.seeds[0]].plans
    assert plans is not None
    reward = np.asarray(plans.reward)[np.asarray(plans.alive, bool)]
    return f"{len(plans.reward)} plans; the predicted reward of a step is {_mean_and_range(reward)}."


def _exploitation(results: Results) -> str:
    evaluation = results.evaluation
    steps = counted(evaluation.imagination.horizon, "step")
    real = "" if evaluation.real_return is None else f", real {number(evaluation.real_return)}"
    return f"Mean return over {steps}: imagined {number(evaluation.imagined_return)}{real}."


def _changes(histories: dict[int, PolicyHistory], names: dict[str, str]) -> str:
    """First and last value of each recorded quantity, means over seeds."""
    parts = []
    for key, name in names.items():
        recorded = [[value for row in h.rows if (value := row.get(key)) is not None] for h in histories.values()]
        if recorded and all(recorded):
            first, last = mean(r[0] for r in recorded), mean(r[-1] for r in recorded)
            parts.append(f"{name} from {number(first)} to {number(last)}")
    updates = max((row["update"] or 0 for h in histories.values() for row in h.rows), default=0)
    return f"Over {updates:,.0f} updates{': ' if parts else ''}{', '.join(parts)}."


def _latents(results: Results) -> Arrays:
    latents = results.first_latents
    assert latents is not None
    return latents


def _listed(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs)


def _mean_and_range(values: np.ndarray) -> str:
    return f"{number(float(values.mean()))} on average, in {interval(float(values.min()), float(values.max()))}"


ALT_TEXTS: dict[str, Callable[[Results], str]] = {
    "scores": _scores,
    "dataset": _dataset,
    "actions": _actions,
    "checks": _checks,
    "frames": _frames,
    "world_model": _world_model,
    "open_loop": _open_loop,
    "latent_frames": _imagined_frames,
    "latent_film": _imagined_frames,
    "latent_trajectories": _trajectories,
    "latent_steps": _latent_steps,
    "latent_states": _latent_states,
    "reliability": _reliability,
    "penalty": _penalty,
    "penalty_rollouts": _rollouts,
    "film": _film,
    "policy": _policy,
    "plans": _plans,
    "baselines": _baselines,
    "exploitation": _exploitation,
}
