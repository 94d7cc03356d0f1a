"""Held-out likelihood and coverage of a world model's predictions, before and after recalibration."""

import torch
from torch import Generator, Tensor
from torch.distributions import Normal

from pipeline.assessment.calibration import coverage, fit_temperature, measured_mean, negative_log_likelihood, pit
from pipeline.assessment.model_error import ROWS
from pipeline.assessment.results import NoReliability, Reliability
from pipeline.protocols import WorldModel
from pipeline.types import CategoricalPrediction, Transitions

LEVELS = [round(0.05 * i, 2) for i in range(1, 20)]  # of central intervals; 0.5, 0.8, 0.9 and 0.95 among them


@torch.no_grad()
def beliefs(model: WorldModel, data: Transitions) -> tuple[Tensor, Tensor, Tensor] | str:
    """Mean and std "M B D" that the elites predict, and the targets "B D", in the model's normalized units; the reason
    as text if the predictions have no density. Targets that were not measured are NaN."""
    parts = []
    for batch in data.split(ROWS):
        prediction = model.predict(batch.state, batch.action)
        if isinstance(prediction, CategoricalPrediction):
            return "a categorical latent has no intervals to cover anything"
        target, measured = model.targets(batch), model.measured(batch)
        target = target if measured is None else torch.where(measured.bool(), target, torch.nan)
        parts.append((prediction.mean[model.elites], prediction.std[model.elites], target))
    mean, std, target = (torch.cat(x, dim=-2) for x in zip(*parts, strict=True))
    return (mean, std, target) if std.any() else "a point latent expects no noise, so it has no intervals"


@torch.no_grad()
def reliability(
    model: WorldModel, data: Transitions, episode: Tensor, names: list[str], draws: Generator
) -> Reliability | NoReliability:
    """Fit temperatures on half of the episodes of ``data`` and measure coverage and likelihood on the other half.

    ``episode`` "B" numbers the episodes and ``names`` "D" names the model's outputs.
    """
    predicted = beliefs(model, data)
    fitted = _half(episode, draws)
    if isinstance(predicted, str):
        return NoReliability(predicted)
    if fitted.all() or not fitted.any():
        return NoReliability("one held-out episode cannot be split into one half to fit and one to judge")
    mean, std, target = predicted
    temperature = fit_temperature(mean[:, fitted], std[:, fitted], target[fitted])
    first = target[fitted]
    center = measured_mean(first)
    spread = measured_mean((first - center).square()).sqrt()
    constant = Normal(center, spread.clamp(min=1e-6), validate_args=False)
    mean, std, target = mean[:, ~fitted], std[:, ~fitted], target[~fitted]
    return Reliability(
        outputs=names,
        levels=LEVELS,
        temperature=temperature.tolist(),
        coverage_before=coverage(pit(mean, std, target), LEVELS).tolist(),
        coverage_after=coverage(pit(mean, std * temperature, target), LEVELS).tolist(),
        nll_before=measured_mean(negative_log_likelihood(mean, std, target)).tolist(),
        nll_after=measured_mean(negative_log_likelihood(mean, std * temperature, target)).tolist(),
        nll_constant=measured_mean(-constant.log_prob(target)).tolist(),
        steps_fitted=int(fitted.sum()),
        steps_judged=int((~fitted).sum()),
        basis="latents as the posterior saw them" if model.recurrent else "changes and reward as logged",
    )


def _half(episode: Tensor, draws: Generator) -> Tensor:
    """Whether each step belongs to the first half of the shuffled episodes, "B"."""
    numbers, of_step = episode.unique(return_inverse=True)
    first = torch.randperm(len(numbers), generator=draws) < len(numbers) // 2
    return first[of_step]
