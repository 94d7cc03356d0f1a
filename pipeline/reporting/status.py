"""The four answers that a report gives about its policy."""

from dataclasses import dataclass

DEPLOY, BASELINE, STAY, UNKNOWN = "deploy", "deploy a baseline", "do not deploy", "cannot tell"


@dataclass(frozen=True)
class Decision:
    """An answer, the one reason for it in a sentence, and three next steps."""

    status: str  # DEPLOY, BASELINE, STAY or UNKNOWN
    reason: str
    next_steps: list[str]
    baseline: str | None = None  # the one to deploy

    @property
    def answer(self) -> str:
        """The status, which names the baseline: "deploy the baseline td3_bc"."""
        return self.status if self.baseline is None else f"deploy the baseline {self.baseline}"

    @property
    def lines(self) -> list[str]:
        """The decision as lines for the terminal."""
        return [f"{self.answer}: {self.reason}", *(f"next: {step}" for step in self.next_steps)]


@dataclass(frozen=True)
class Bounds:
    """A number and its 95 % interval. Two numbers differ clearly if their intervals do not overlap."""

    value: float
    low: float
    high: float

    def above(self, other: "Bounds") -> bool:
        """Clearly larger."""
        return self.low > other.high

    def below(self, other: "Bounds") -> bool:
        """Clearly smaller."""
        return other.above(self)
