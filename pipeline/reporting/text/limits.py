"""What the reader should not conclude from the report, derived from the results."""

from pipeline.data.spec import GIVEN, LAST
from pipeline.reporting.results import Results
from pipeline.reporting.text.formatting import number, percent
from pipeline.world_models.results import WorldModelHistory

FEW_SEEDS = 3
SATURATED = 0.1  # share of variances at a bound from which a limit is reported


def limits(results: Results) -> list[str]:
    """Sentences, each true of these results."""
    spec = results.dataset.spec
    sentences = [*_of_training(results), *_of_imagination(results)]
    if spec.ref_min_score is None or spec.ref_max_score is None:
        sentences.append("No reference returns: results cannot be compared with those of other datasets.")
    if spec.action_bounds == "inferred":
        sentences.append("Action bounds were inferred from the logs: the true range may be wider.")
    if spec.action_bounds == "quantiles":
        sentences.append("The policy stays within the range of most logged actions, as `dataset.action_quantile` asks.")
    bounds = [share for history in results.world_model.values() for share in bound_shares(history) or ()]
    if bounds and max(bounds) > SATURATED:
        sentences.append(
            f"Up to {percent(max(bounds))} of the world model's variances are at a bound and cannot rank errors there."
        )
    sentences += [check.meaning for check in results.checks if check.severity == "serious"]
    sentences += _of_drift(results)
    if not spec.terminals:
        sentences.append("The logs hold no terminal: the world model never ends an episode.")
    return sentences


def _of_drift(results: Results) -> list[str]:
    drift = results.check("drift")
    if drift is None or not drift.warns or results.dataset.spec.split in (LAST, GIVEN):
        return []
    ratio, feature = number(drift.evidence["error_ratio"]), drift.evidence["feature"]
    return [
        "Held-out episodes are from the same time as the training data, but the log drifts: one-step errors on its last"
        f" fifth are {ratio} times those before ({feature}). `dataset.split: last` measures those of the time to come."
    ]


def _of_training(results: Results) -> list[str]:
    if len(results.seeds) >= FEW_SEEDS:
        return []
    return [
        f"Trained with {len(results.seeds)} seed{'s'[: len(results.seeds) > 1]}: the intervals hardly cover the"
        " variation between training runs."
    ]


def _of_imagination(results: Results) -> list[str]:
    sentences = []
    if results.evaluation.environment is None:
        sentences.append("No real environment: the imagined return is only the world model's prediction.")
    horizon = results.evaluation.imagination.horizon
    trusted = min(errors.trust.horizon for errors in results.errors.values())
    if horizon > trusted:
        sentences.append(
            f"Imagined returns run over {horizon} steps, more than the {trusted} for which the world model is trusted."
        )
    return sentences


def bound_shares(history: WorldModelHistory) -> tuple[float, float] | None:
    """The shares of predicted variances at their low and high bound after the last epoch; None for a model without
    bounds."""
    last = history.epochs[-1]
    low, high = last.get("held_out_low_share"), last.get("held_out_high_share")
    return (low, high) if isinstance(low, float) and isinstance(high, float) else None
