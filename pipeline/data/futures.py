"""The logged exogenous values that follow logged rows, for imagination."""

import numpy as np
import torch
from torch import Tensor

from pipeline.data.dataset import PreparedDataset
from pipeline.encoders.exogenous import Exogenous
from pipeline.encoders.statistics import Statistics
from pipeline.types import Future


class LoggedFutures:
    """Reads the exogenous values of a dataset by row; they stay memory-mapped."""

    def __init__(self, dataset: PreparedDataset, statistics: Statistics) -> None:
        self.dataset = dataset
        self.exogenous = Exogenous(statistics)

    def after(self, row: Tensor, horizon: int) -> Future:
        """The exogenous values of the ``horizon`` steps after the logged rows ``row`` "B". Beyond an episode's last row
        that row is repeated, and ``present`` is 0."""
        rows = row.cpu().numpy()
        last = self.dataset.offsets[np.searchsorted(self.dataset.offsets, rows, side="right")] - 1
        at = rows[:, None] + np.arange(1, horizon + 1)
        flat = self.dataset.flat_obs(np.minimum(at, last[:, None]).reshape(-1))
        inputs = self.exogenous.of(torch.from_numpy(flat)).unflatten(0, (len(rows), horizon))
        return Future(inputs, torch.from_numpy(at <= last[:, None]).float()).to(row.device)


def logged_futures(dataset: PreparedDataset, statistics: Statistics) -> LoggedFutures | None:
    """The futures of a dataset; None if it has no exogenous features."""
    return LoggedFutures(dataset, statistics) if statistics.exogenous else None
