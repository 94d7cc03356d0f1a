"""The four answers that a report gives about its policy."""

from dataclasses import dataclass

DEPLOY, CLONE, STAY, UNKNOWN = "deploy", "use cloning", "do not deploy", "cannot tell"


@dataclass(frozen=True)
class Decision:
    """An answer, the one reason for it in a sentence, and three next steps."""

    status: str  # DEPLOY, CLONE, STAY or UNKNOWN
    reason: str
    next_steps: list[str]

    @property
    def lines(self) -> list[str]:
        """The decision as lines for the terminal."""
        return [f"{self.status}: {self.reason}", *(f"next: {step}" for step in self.next_steps)]


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
