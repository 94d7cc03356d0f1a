"""Draws logged steps, those of good episodes more often."""

from typing import Self

import numpy as np
import torch
from torch import Generator, Tensor

from pipeline.data.dataset import PreparedDataset

ALONE = 1e-3  # of one minus the leverage: below it, a row decides a coefficient of a regression by itself
EQUAL = 1e-6  # spread of advantages below which episodes are equally good, in sizes of the largest result


class EpisodeDraws:
    """Draws rows of episodes whose ``lengths`` are "E", each row of an episode with the weight "E" of that episode.

    One uniform number gives the episode and the step in it, by the inverse of the distribution function.
    """

    def __init__(self, lengths: np.ndarray, weights: np.ndarray) -> None:
        assert len(lengths) == len(weights)
        mass = lengths * weights
        self.share = mass / mass.sum()  # of the draws, for each episode
        self.edges = torch.from_numpy(np.concatenate([[0.0], np.cumsum(self.share)]))
        self.first = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]))

    def rows(self, count: int, generator: Generator) -> Tensor:
        """``count`` row numbers, int64, drawn with replacement."""
        place = torch.rand(count, dtype=self.edges.dtype, generator=generator, device=generator.device)
        episode = torch.searchsorted(self.edges[1:-1].contiguous(), place, right=True)
        low, high = self.edges[episode], self.edges[episode + 1]
        first, last = self.first[episode], self.first[episode + 1] - 1
        return (first + (place - low) / (high - low) * (last - first + 1)).long().clamp(first, last)

    def to(self, device: torch.device) -> Self:
        """Draw on ``device`` from now on."""
        dtype = torch.float32 if device.type == "mps" else torch.float64  # Apple's has no float64
        self.edges, self.first = self.edges.to(device, dtype), self.first.to(device)
        return self


def draws_by_return(dataset: PreparedDataset, split: str, temperature: float) -> EpisodeDraws | None:
    """Draws that prefer episodes of high advantage: weights exp(advantage / temperature), with advantages scaled to
    [0, 1] (advantage weighting, Hong et al. 2023, arXiv:2306.13085). None if all episodes have the same advantage.
    """
    result = episode_results(dataset, split)
    advantage = episode_advantages(dataset, split)
    spread = np.ptp(advantage) if len(advantage) else 0.0
    if spread <= EQUAL * np.abs(result).max(initial=0.0):
        return None
    weights = np.exp((advantage - advantage.max()) / (spread * temperature))
    return EpisodeDraws(dataset.episode_lengths(split), weights)


def episode_results(dataset: PreparedDataset, split: str) -> np.ndarray:
    """The return of each episode of a split, float64; in logs without true ends, where an episode stops because the
    recording did, its mean reward of a step."""
    returns = dataset.episode_returns(split)
    return returns if dataset.spec.terminals else returns / np.maximum(dataset.episode_lengths(split), 1)


def episode_advantages(dataset: PreparedDataset, split: str) -> np.ndarray:
    """How much better each episode of a split went than its first observation lets expect, float64.

    That is its result less what a linear regression on the first observations of all other episodes predicts, or less
    the mean result if the regression predicts no better.
    """
    result = episode_results(dataset, split)
    if len(result) == 0:
        return result
    centered = result - result.mean()
    first = dataset.flat_obs(dataset.offsets[dataset.episodes(split)]).astype(np.float64)
    errors = _errors_when_left_out(first, centered)
    return errors if (errors**2).sum() < (centered**2).sum() else centered


def _errors_when_left_out(features: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Errors "E" of a linear regression of ``target`` "E", of mean zero, on ``features`` "E O", each without its own
    row: the plain error over one minus the row's leverage (Allen 1974). Zero is the prediction of a row that alone
    decides a coefficient, and of all rows if they are fewer than twice the coefficients."""
    spread = features.std(0)
    scaled = (features - features.mean(0))[:, spread > 0] / spread[spread > 0]
    basis, sizes, _ = np.linalg.svd(np.column_stack([np.ones(len(target)), scaled]), full_matrices=False)
    basis = basis[:, sizes > 1e-6 * sizes[0]]
    if len(target) < 2 * basis.shape[1]:
        return target
    left = 1 - (basis**2).sum(1)
    return np.where(left > ALONE, (target - basis @ (basis.T @ target)) / np.maximum(left, ALONE), target)
