"""What float32 loses of wider numbers, such as times in seconds since 1970, which it rounds to 128."""

from dataclasses import dataclass, field

import numpy as np

from pipeline.data.episode import Episode
from pipeline.ingest.validate import arrays_of

WORTH_TELLING = 1e-3  # of an entry's range
NOISE = 1e-12  # of an entry's size: a range below it is rounding of the log's own


@dataclass
class Rounding:
    """The largest error by float32 and the range of every entry that was logged in a wider type, by array."""

    error: dict[str, np.ndarray] = field(default_factory=dict)
    low: dict[str, np.ndarray] = field(default_factory=dict)
    high: dict[str, np.ndarray] = field(default_factory=dict)

    def note(self, raw: Episode, stored: Episode) -> None:
        """An episode as it was logged, and as float32."""
        narrow = arrays_of(stored)
        for name, wide in arrays_of(raw).items():
            if narrow[name].dtype == np.float32 and not np.can_cast(wide.dtype, np.float32):
                self._note(name, wide.reshape(len(wide), -1), narrow[name].reshape(len(wide), -1))

    def _note(self, name: str, wide: np.ndarray, narrow: np.ndarray) -> None:
        error, low, high = abs(wide - narrow.astype(np.float64)).max(axis=0), wide.min(axis=0), wide.max(axis=0)
        self.error[name] = np.maximum(error, self.error.get(name, error))
        self.low[name] = np.minimum(low, self.low.get(name, low))
        self.high[name] = np.maximum(high, self.high.get(name, high))

    def warnings(self) -> list[str]:
        """One for each entry that loses what is :data:`WORTH_TELLING`."""
        found = []
        for name, error in self.error.items():
            low, high = (side[name].astype(np.float64) for side in (self.low, self.high))
            spread = high - low
            told = (error > WORTH_TELLING * spread) & (spread > NOISE * np.maximum(abs(low), abs(high)))
            for entry in np.flatnonzero(told):
                lost = f"rounded by up to {error[entry]:.2g} of a range of {spread[entry]:.2g}"
                found.append(f"{name}[{entry}]: stored as float32, {lost}; take its offset off (`dataset.transform`)")
        return found
