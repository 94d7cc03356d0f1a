"""Rounding errors of float32, such as times in seconds since 1970, which it rounds to multiples of 128."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

CHUNK = 1 << 14  # rows compared at a time
TOLERANCE = 1e-3  # share of an entry's range; larger errors are reported
NOISE = 1e-12  # share of an entry's size; a smaller range is rounding noise of the log itself


@dataclass
class Rounding:
    """The largest rounding error and the range of every entry that was logged in a wider type, by array."""

    error: dict[str, np.ndarray] = field(default_factory=dict)
    low: dict[str, np.ndarray] = field(default_factory=dict)
    high: dict[str, np.ndarray] = field(default_factory=dict)

    def note(self, raw: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray]) -> None:
        """Compare arrays "R ..." as logged with the same arrays as float32."""
        for name, wide in raw.items():
            if stored[name].dtype == np.float32 and not np.can_cast(wide.dtype, np.float32):
                narrow = stored[name]
                for rows in (slice(i, i + CHUNK) for i in range(0, len(wide), CHUNK)):
                    self._note(name, wide[rows].reshape(len(wide[rows]), -1), narrow[rows].reshape(len(wide[rows]), -1))

    def _note(self, name: str, wide: np.ndarray, narrow: np.ndarray) -> None:
        error = abs(wide - narrow.astype(np.float64)).max(axis=0)
        low, high = wide.min(axis=0), wide.max(axis=0)
        self.error[name] = np.maximum(error, self.error.get(name, error))
        self.low[name] = np.minimum(low, self.low.get(name, low))
        self.high[name] = np.maximum(high, self.high.get(name, high))

    def warnings(self) -> list[str]:
        """One line for each entry whose error exceeds :data:`TOLERANCE`."""
        lines = []
        for name, error in self.error.items():
            low, high = (side[name].astype(np.float64) for side in (self.low, self.high))
            spread = high - low
            inexact = (error > TOLERANCE * spread) & (spread > NOISE * np.maximum(abs(low), abs(high)))
            for entry in np.flatnonzero(inexact):
                loss = f"float32 rounds it by up to {error[entry]:.2g} of a range of {spread[entry]:.2g}"
                lines.append(f"{name}[{entry}]: {loss}; subtract its offset in `dataset.transform`")
        return lines
