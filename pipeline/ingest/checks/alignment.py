"""Off by one: do the action and the reward of a row belong to the step that leaves its observation?

The change of observation should be predicted best with the action of its own row. That alone does not tell: where a
policy reacts, the next action repeats what the next observation says, and would seem to cause it. So the question is
also put the other way round: which row's action is better known from both observations of a step than from either
alone? A reaction is known from the one it reacts to, a cause only from both.
"""

import numpy as np

from pipeline.ingest.checks.finding import Finding
from pipeline.ingest.checks.regress import held_out_r2
from pipeline.ingest.checks.sample import FloatArray, Sample, decides

SHIFTS = range(-2, 3)
CLEARER = 0.015  # share of variance by which another shift must do better
HALVED = 0.5  # of what the reward of the own row leaves open, another one must leave open less
CONFIRMED = 0.01  # the same for the forward question, once the backward one has answered


def action_shift(sample: Sample) -> Finding | None:
    """Which shift k makes action[t + k] the cause of the change from obs[t] to obs[t + 1]; None for logs too small."""
    starts, test = sample.windows(len(SHIFTS))
    if not decides(test) or not sample.moving.any():
        return None
    rows = starts - SHIFTS[0]
    obs, after = (sample.observed(rows + i) for i in (0, 1))
    change = (after - obs)[:, sample.moving]
    actions = {k: sample.actions(rows + k) for k in SHIFTS}
    varies = actions[0][~test].std(axis=0) > 0
    if not varies.any():
        return None
    caused = _known_from_both(obs, after, np.stack([actions[k][:, varies] for k in SHIFTS]), test)
    forward = [_mean(held_out_r2(np.concatenate([obs, actions[k]], axis=1), change, test)) for k in SHIFTS]
    at, zero = int(np.argmax(caused)), SHIFTS.index(0)
    wrong = caused[at] > caused[zero] + CLEARER and forward[at] > forward[zero] + CONFIRMED
    best = SHIFTS[at] if wrong else 0
    evidence = {
        "best_shift": best,
        "known_from_both": caused[SHIFTS.index(best)],
        "known_from_both_unshifted": caused[zero],
        "shifts": list(SHIFTS),
        "known_from_both_by_shift": caused,
        "change_explained_by_shift": forward,
    }
    if not wrong:
        return Finding("action_shift", "info", evidence, "No other row's action fits a change of observation better.")
    meaning = f"A change of observation fits the action {_rows(best)} best: stored off by one, or acting with a delay."
    remedy = f"move actions by {-best} rows by `dataset.transform`; if they do act late, `world_model.history: k`"
    return Finding("action_shift", "serious", evidence, meaning, remedy)


def reward_shift(sample: Sample) -> Finding | None:
    """Which shift k makes reward[t + k] a function of obs[t], action[t], obs[t + 1]; None where all are equal."""
    starts, test = sample.windows(len(SHIFTS))
    if not decides(test) or not sample.moving.any():
        return None
    rows = starts - SHIFTS[0]
    rewards = np.stack([sample.rewards(rows + k) for k in SHIFTS], axis=1)
    if not (rewards[~test].std(axis=0) > 0).all():
        return None
    obs, after = (sample.observed(rows + i) for i in (0, 1))
    step = np.concatenate([obs, _scaled(after - obs), sample.actions(rows)], axis=1)
    known = held_out_r2(step, rewards, test).tolist()
    best = SHIFTS[int(np.argmax(known))]
    if 1 - max(known) > HALVED * (1 - known[SHIFTS.index(0)]):
        best = 0
    evidence = {
        "best_shift": best,
        "explained": known[SHIFTS.index(best)],
        "explained_unshifted": known[SHIFTS.index(0)],
        "shifts": list(SHIFTS),
        "explained_by_shift": known,
    }
    if best == 0:
        return Finding("reward_shift", "info", evidence, "No other row's reward fits a step much better.")
    meaning = f"A step explains the reward {_rows(best)} best: rewards are stored off by one, or paid late."
    remedy = f"move rewards by {-best} rows by `dataset.transform`; if they are paid late, `world_model.name: rssm`"
    return Finding("reward_shift", "serious", evidence, meaning, remedy)


def _known_from_both(obs: FloatArray, after: FloatArray, actions: FloatArray, test: np.ndarray) -> list[float]:
    """How much better each shift's actions "K n A" are known from both observations than from either, a mean over A."""
    shifts, _, size = actions.shape
    targets = actions.transpose(1, 0, 2).reshape(len(obs), shifts * size)
    both = held_out_r2(np.concatenate([obs, _scaled(after - obs)], axis=1), targets, test)
    either = np.maximum(held_out_r2(obs, targets, test), held_out_r2(after, targets, test))
    gain = np.maximum(both, 0) - np.maximum(either, 0)
    return gain.reshape(shifts, size).mean(axis=1).tolist()


def _scaled(change: FloatArray) -> FloatArray:
    return change / np.maximum(change.std(axis=0), 1e-12)


def _mean(r2: FloatArray) -> float:
    return float(np.maximum(r2, -1).mean())


def _rows(shift: int) -> str:
    count = "one row" if abs(shift) == 1 else f"{abs(shift)} rows"
    return f"{count} {'later' if shift > 0 else 'earlier'}"
