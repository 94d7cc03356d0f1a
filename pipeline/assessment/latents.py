"""Latents of a world model on held-out windows: measures for the report, and a few example windows."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from pipeline.assessment.model_error import Scale, mean_square, replay
from pipeline.types import Beliefs, Observation, Segments
from pipeline.world_models.protocols import LatentWorldModel

ACTIVE_VARIANCE = 0.01  # threshold: variance of the posterior mean over the logs, as a share of the prior's variance
ACTIVE_NATS = 0.1  # threshold: entropy of a categorical's class frequencies over the logs
EXAMPLES = 3  # windows
STRIDE = 10  # steps between compared states, because neighboring states are similar
ROWS = 25  # windows filtered at once: each of their frames is encoded and decoded

Arrays = dict[str, np.ndarray]


@torch.no_grad()
def latent_report(model: LatentWorldModel, batches: Iterable[Segments], scale: Scale, context: int) -> Arrays:
    """Everything the report shows of the latents. F frames of windows without padding, U units, N states.

    Means over windows by frame: ``reconstruction_rmse`` "F" of the decoded posterior in units of :class:`Scale`, ``kl``
    "F" and, unless the latent is a point, ``posterior_entropy`` and ``prior_entropy`` "F", in nats. Then ``activity``
    "U" with its threshold ``active_above``. Of states later than ``context`` steps ``points`` "N 2", their first two
    principal components, which hold ``shares`` "2" of the variance, and ``reward`` "N" of the step into each. Last,
    :func:`examples`.
    """
    frames, states = [], []
    example_windows = None
    for windows in _pieces(batches):
        beliefs = model.beliefs(windows)
        example_windows = windows[:EXAMPLES] if example_windows is None else example_windows
        frames.append(_by_frame(model, beliefs, windows, scale))
        states.append(_states(beliefs, windows, context))
    assert example_windows is not None
    mean = {k: v.mean(0) for k, v in _joined(frames).items()}
    later = _joined(states)
    points, shares = principal(later["state"])
    measures = {
        "context": torch.tensor(context),
        "reconstruction_rmse": mean.pop("square").sqrt(),
        **mean,
        "activity": activity(later["mode"], later["prior_variance"]),
        "active_above": torch.tensor(ACTIVE_VARIANCE if later["mode"].shape[-1] == 1 else ACTIVE_NATS),
        "classes": torch.tensor(later["mode"].shape[-1]),
        "points": points,
        "shares": shares,
        "reward": later["reward"],
    }
    return {k: v.numpy() for k, v in measures.items()} | examples(model, example_windows, context, scale)


def activity(mode: Tensor, prior_variance: Tensor) -> Tensor:
    """Activity "U" of each unit, from modes and prior variances "N U K" over the logs.

    Continuous, K = 1: the variance of the posterior's mean as a share of the prior's variance, after the active units
    of Burda et al. 2016 (arXiv:1509.00519), whose prior has variance one. A point latent has no prior variance; it is
    compared with one as well. Categorical: the entropy in nats of how often each class is the mode.
    """
    if mode.shape[-1] > 1:
        return torch.special.entr(mode.mean(0)).sum(-1)
    expected = prior_variance.mean(0)
    return (mode.var(0, correction=0) / torch.where(expected > 0, expected, 1.0)).squeeze(-1)


def principal(states: Tensor) -> tuple[Tensor, Tensor]:
    """States "N Z" on their first two principal components, "N 2", and the shares "2" of the variance that these
    explain. The sign of a component makes its largest weight positive."""
    centered = F.pad(states - states.mean(0), (0, max(0, 2 - states.shape[1])))
    _, values, axes = torch.linalg.svd(centered.double(), full_matrices=False)
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    points = centered.double() @ axes[:2].T
    variance = values.square()
    return points.float(), (variance[:2] / variance.sum().clamp(min=1e-12)).float()


def examples(model: LatentWorldModel, windows: Segments, context: int, scale: Scale) -> Arrays:
    """``true_<key>`` and ``predicted_<key>`` "B F ..." for each key of the observation, images as uint8.

    Up to frame ``context`` the prediction is the decoded posterior; after that, the model sees the logged actions only.
    """
    filtered = model.beliefs(windows).state[:, : context + 1]
    states = torch.cat([filtered, replay(model, windows, context, scale).state[:, 1:]], dim=1)
    predicted = _decoded(model, states)
    frames = {f"true_{key}": obs.numpy() for key, obs in windows.obs.items()}
    for key, obs in predicted.items():
        frames[f"predicted_{key}"] = (obs.round().byte() if windows.obs[key].dtype == torch.uint8 else obs).numpy()
    return frames


def _pieces(batches: Iterable[Segments]) -> Iterator[Segments]:
    for windows in batches:
        yield from windows.split(ROWS)


def _by_frame(model: LatentWorldModel, beliefs: Beliefs, windows: Segments, scale: Scale) -> dict[str, Tensor]:
    """Measures of every frame, each "B F"."""
    error = scale(_decoded(model, beliefs.state)) - scale(windows.obs)
    measures = {"square": mean_square(error, scale.measured(windows.obs)), "kl": beliefs.kl}
    if beliefs.prior_variance.any():
        measures |= {"posterior_entropy": beliefs.posterior_entropy, "prior_entropy": beliefs.prior_entropy}
    return measures


def _states(beliefs: Beliefs, windows: Segments, context: int) -> dict[str, Tensor]:
    """States, latents and rewards "N ..." after the context, when the memory has filled."""
    later = beliefs.map(lambda x: x[:, context + 1 :: STRIDE].flatten(0, 1))
    reward = windows.reward[:, context::STRIDE].flatten()  # reward[t] belongs to the step into frame t + 1
    return {"state": later.state, "mode": later.mode, "prior_variance": later.prior_variance, "reward": reward}


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _decoded(model: LatentWorldModel, states: Tensor) -> Observation:
    flat = model.decode(rearrange(states, "b f z -> (b f) z"))
    return {key: rearrange(obs, "(b f) ... -> b f ...", b=len(states)) for key, obs in flat.items()}
