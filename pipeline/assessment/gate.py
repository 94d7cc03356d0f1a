"""The gate between a world model and the policy learned in it: reasons not to imagine with the model at all."""

from pipeline.assessment.results import ModelErrors

NO_STEP = "the world model is no better than no change after one step"
TOO_FAR = "the world model's error of one step is more than half the distance between unrelated states"
NO_REWARD = "the predicted reward is no better than a constant"
CONSTANT = 1e-6  # mean absolute error of the mean reward, below which the held-out reward is constant


def failures(errors: ModelErrors) -> list[str]:
    """Why imagination in this model cannot be trusted for one step; empty if it passes.

    A model fails if its trusted horizon is zero (:mod:`pipeline.assessment.horizon`), or if its reward of one step is
    no better than the mean reward: a mean absolute error at least as large, or an R2 of zero or less.
    """
    reasons = []
    if errors.trust.horizon == 0:
        worse = errors.trust.model_error[0] >= errors.trust.persistence_error[0]
        reasons.append(NO_STEP if worse else TOO_FAR)
    if reward_horizon(errors) == 0:
        reasons.append(NO_REWARD)
    return reasons


def reward_horizon(errors: ModelErrors) -> int:
    """The largest of ``errors.horizons`` up to which the predicted reward is better than the mean reward; 0 if it is
    not after one step. A constant reward, such as one for each step survived, tests no prediction and passes."""
    if constant_reward(errors):
        return errors.horizons[-1]
    r2 = next((error.r2 for error in errors.features if error.name == "reward"), None)
    if r2 is not None and r2 <= 0:
        return 0
    reached = 0
    for horizon, error, baseline in zip(errors.horizons, errors.reward_mae, errors.reward_baseline_mae, strict=True):
        if error >= baseline:
            break
        reached = horizon
    return reached


def constant_reward(errors: ModelErrors) -> bool:
    """Whether the reward of all held-out windows is the same."""
    return max(errors.reward_baseline_mae) < CONSTANT
