"""What the reader should not conclude from the report, derived from the results."""

from pipeline.reporting.results import Json, Results
from pipeline.reporting.text.formatting import percent

FEW_SEEDS = 3
SATURATED = 0.1  # share of variances at a bound from which they no longer rank


def limits(results: Results) -> list[str]:
    """Sentences, each true of these results."""
    spec, evaluation = results.dataset.spec, results.evaluation
    told = []
    if len(results.seeds) < FEW_SEEDS:
        told.append(
            f"Trained with {len(results.seeds)} seed{'s'[: len(results.seeds) > 1]}: the intervals hardly cover how"
            " much training itself varies."
        )
    if evaluation["environment"] is None:
        told.append("No real environment: the imagined return is the world model's own opinion of the policy.")
    far, trusted = evaluation["imagination"]["horizon"], min(e["trust"]["horizon"] for e in results.errors.values())
    if far > trusted:
        told.append(
            f"Imagined returns run over {far} steps, further than the {trusted} that the world model is trusted for."
        )
    if spec.ref_min_score is None or spec.ref_max_score is None:
        told.append("No reference returns: results cannot be compared with those of other datasets.")
    if spec.action_bounds == "inferred":
        told.append("Action bounds were inferred from the logs: the true range may be wider.")
    if spec.action_bounds == "quantiles":
        told.append("The policy acts within what most of the logs did, as `dataset.action_quantile` asks.")
    bounds = [share for history in results.world_model.values() for share in bound_shares(history) or ()]
    if bounds and max(bounds) > SATURATED:
        told.append(
            f"Up to {percent(max(bounds))} of the world model's variances sit at a bound: there they rank nothing."
        )
    told += [found["meaning"] for found in results.findings if found["severity"] == "serious"]
    if not spec.terminals:
        told.append("The logs hold no terminal: the world model never ends an episode.")
    return told


def bound_shares(history: Json) -> tuple[float, float] | None:
    """The shares of predicted variances at their low and high bound when training ended; None for a model without."""
    last = history["epochs"][-1]
    return (last["held_out_low_share"], last["held_out_high_share"]) if "held_out_low_share" in last else None
