"""Off-by-one errors: do the action and the reward of a row belong to the step that starts at its observation?

With correct logs, the change of observation is predicted best from the action of the same row. This forward test is not
enough: if the policy reacts to observations, the next action depends on the next observation and appears to cause it.
A second, inverse test separates the two: it predicts each row's action from both observations of a step, and compares
that with the prediction from either one alone. A reaction follows from one observation, a cause needs both.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.checks.regress import held_out_r2
from pipeline.ingest.checks.result import INCONCLUSIVE, CheckResult
from pipeline.ingest.checks.sample import FloatArray, Sample, is_large_enough

SHIFTS = range(-2, 3)
INVERSE_MARGIN = 0.015  # share of variance by which another shift must win the inverse test
FORWARD_MARGIN = 0.01  # the same for the forward test, which must confirm it
LEAST_REWARD = 0.1  # share of the reward variance that some shift must explain
REWARD_RATIO = 0.5  # another shift must leave less than this share of the reward variance unexplained by shift 0


def action_shift(sample: Sample) -> CheckResult | None:
    """Which shift k makes action[t + k] the cause of the change from obs[t] to obs[t + 1].

    None for small logs, constant observations and constant actions.
    """
    starts, test = sample.windows(len(SHIFTS))
    if not is_large_enough(test) or not sample.predicted.any():
        return None
    rows = starts - SHIFTS[0]
    obs, next_obs = (sample.observed(rows + i) for i in (0, 1))
    change = (next_obs - obs)[:, sample.predicted]
    actions = {k: sample.actions(rows + k) for k in SHIFTS}
    varies = actions[0][~test].std(axis=0) > 0
    if not varies.any():
        return None
    inverse = _inverse_gain(obs, next_obs, np.stack([actions[k][:, varies] for k in SHIFTS]), test)
    forward = [_mean(held_out_r2(np.concatenate([obs, actions[k]], axis=1), change, test)) for k in SHIFTS]
    best_index = int(np.argmax(inverse))
    zero_index = SHIFTS.index(0)
    shifted = (
        inverse[best_index] > inverse[zero_index] + INVERSE_MARGIN
        and forward[best_index] > forward[zero_index] + FORWARD_MARGIN
    )
    best = SHIFTS[best_index] if shifted else 0
    evidence = {
        "best_shift": best,
        "inverse_gain": inverse[SHIFTS.index(best)],
        "inverse_gain_unshifted": inverse[zero_index],
        "shifts": list(SHIFTS),
        "inverse_gain_by_shift": inverse,
        "change_explained_by_shift": forward,
    }
    if not shifted and max(inverse) < INVERSE_MARGIN:
        meaning = "Whether actions are aligned is open: no row's action has an effect that can be measured."
        remedy = "check the action columns, or whether an action takes effect after more than two rows"
        return CheckResult("action_shift", INCONCLUSIVE, evidence, meaning, remedy)
    if not shifted:
        meaning = "Actions are aligned: no other row's action explains the change of observation better."
        return CheckResult("action_shift", "info", evidence, meaning)
    meaning = f"The action {_rows(best)} explains the change of observation best: an off-by-one error or a delay."
    remedy = (
        f"off-by-one error: {_option('action_offset', best)}move actions by {-best} rows in `dataset.transform`; real "
        "delay: set `world_model.history: k`"
    )
    return CheckResult("action_shift", "serious", evidence, meaning, remedy)


def reward_shift(sample: Sample) -> CheckResult | None:
    """Which shift k makes reward[t + k] a function of obs[t], action[t], obs[t + 1].

    None for small logs, constant observations and constant rewards.
    """
    starts, test = sample.windows(len(SHIFTS))
    if not is_large_enough(test) or not sample.predicted.any():
        return None
    rows = starts - SHIFTS[0]
    rewards = np.stack([sample.rewards(rows + k) for k in SHIFTS], axis=1)
    if not (rewards[~test].std(axis=0) > 0).all():
        return None
    obs, next_obs = (sample.observed(rows + i) for i in (0, 1))
    step = np.concatenate([obs, _scaled(next_obs - obs), sample.actions(rows)], axis=1)
    r2 = held_out_r2(step, rewards, test).tolist()
    best = SHIFTS[int(np.argmax(r2))]
    if 1 - max(r2) > REWARD_RATIO * (1 - r2[SHIFTS.index(0)]):
        best = 0
    evidence = {
        "best_shift": best,
        "explained": r2[SHIFTS.index(best)],
        "explained_unshifted": r2[SHIFTS.index(0)],
        "shifts": list(SHIFTS),
        "explained_by_shift": r2,
    }
    if best == 0 and max(r2) < LEAST_REWARD:
        meaning = "Whether rewards are aligned is open: a step explains the reward of no row."
        remedy = "harmless where rewards are sparse; else check the reward's columns, or add what it depends on"
        return CheckResult("reward_shift", INCONCLUSIVE, evidence, meaning, remedy)
    if best == 0:
        meaning = "Rewards are aligned: no other row's reward fits a step much better."
        return CheckResult("reward_shift", "info", evidence, meaning)
    meaning = f"A step explains the reward {_rows(best)} best: an off-by-one error or a delayed reward."
    remedy = (
        f"off-by-one error: {_option('reward_offset', best)}move rewards by {-best} rows in `dataset.transform`; real "
        "delay: set `world_model.name: rssm`"
    )
    return CheckResult("reward_shift", "serious", evidence, meaning, remedy)


def _inverse_gain(obs: FloatArray, next_obs: FloatArray, actions: FloatArray, test: NDArray[np.bool_]) -> list[float]:
    """By how much R2 of each shift's actions "K n A" is higher from both observations than from the better single one,
    a mean over A."""
    shifts, _, size = actions.shape
    targets = actions.transpose(1, 0, 2).reshape(len(obs), shifts * size)
    both = held_out_r2(np.concatenate([obs, _scaled(next_obs - obs)], axis=1), targets, test)
    either = np.maximum(held_out_r2(obs, targets, test), held_out_r2(next_obs, targets, test))
    gain = np.maximum(both, 0) - np.maximum(either, 0)
    return gain.reshape(shifts, size).mean(axis=1).tolist()


def _scaled(change: FloatArray) -> FloatArray:
    return change / np.maximum(change.std(axis=0), 1e-12)


def _mean(r2: FloatArray) -> float:
    return float(np.maximum(r2, -1).mean())


def _option(name: str, late: int) -> str:
    return f"set a table's `{name}: {late}`, or " if late > 0 else ""


def _rows(shift: int) -> str:
    count = "one row" if abs(shift) == 1 else f"{abs(shift)} rows"
    return f"{count} {'later' if shift > 0 else 'earlier'}"
