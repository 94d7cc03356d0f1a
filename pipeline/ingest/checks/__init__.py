"""Checks on the prepared dataset, each with a severity, the numbers behind it and a remedy.

A check takes a :class:`Sample` and returns a :class:`CheckResult`, or None where it does not apply. To add one, write
a function and register it in ``CHECKS``.
"""

from collections.abc import Callable

from threadpoolctl import threadpool_limits

from pipeline.data.dataset import PreparedDataset
from pipeline.ingest.checks import alignment, basics, columns, drift, ends, features, jumps, last_part, repeats, rewards
from pipeline.ingest.checks.magnitude import implausible_magnitude
from pipeline.ingest.checks.memory import memory
from pipeline.ingest.checks.result import SEVERITIES, CheckResult
from pipeline.ingest.checks.sample import Sample

Check = Callable[[Sample], CheckResult | None]

CHECKS: dict[str, Check] = {
    "implausible_magnitude": implausible_magnitude,  # first, because such values mislead the others
    "action_shift": alignment.action_shift,
    "reward_shift": alignment.reward_shift,
    "timeouts_as_terminals": ends.timeouts_as_terminals,
    "missing_terminals": ends.missing_terminals,
    "time_gaps": ends.time_gaps,
    "jumps": jumps.jumps,
    "running_on": jumps.running_on,
    "next_state_features": columns.next_state_features,
    "counters": columns.counters,
    "unit_change": drift.unit_change,
    "behavior_shift": drift.behavior_shift,
    "held_out_shift": drift.held_out_shift,
    "drift": last_part.drift,
    "memory": memory,
    "reward_leak": features.reward_leak,
    "equal_rewards": basics.equal_rewards,
    "zero_rewards": rewards.zero_rewards,
    "reward_spikes": rewards.reward_spikes,
    "constant_features": features.constant_features,
    "nearly_constant_features": features.nearly_constant_features,
    "discrete_features": features.discrete_features,
    "wrapping_angles": features.wrapping_angles,
    "duplicate_episodes": repeats.duplicate_episodes,
    "near_duplicate_episodes": repeats.near_duplicate_episodes,
    "duplicate_rows": repeats.duplicate_rows,
    "single_step_episodes": basics.single_step_episodes,
    "episodes": basics.episodes,
    "coverage": basics.coverage,
    "actions": basics.actions,
}


def run_checks(dataset: PreparedDataset) -> list[CheckResult]:
    """The results of all checks that apply, most severe first. Equal datasets give equal results.

    One thread: the products of the regressions are so small that further threads mostly wait for each other.
    """
    sample = Sample(dataset)
    with threadpool_limits(1, user_api="blas"):
        results = [result for check in CHECKS.values() if (result := check(sample)) is not None]
    return sorted(results, key=lambda result: -SEVERITIES.index(result.severity))


__all__ = ["CHECKS", "SEVERITIES", "Check", "CheckResult", "run_checks"]
