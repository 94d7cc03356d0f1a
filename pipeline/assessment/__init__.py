"""How far a world model can be trusted, measured on held-out logs."""

from typing import Annotated

from pydantic.dataclasses import dataclass

from pipeline.validation import OPTIONS, OneOf

WARN, STOP = "warn", "stop"


@dataclass(frozen=True, config=OPTIONS)
class AssessmentConfig:
    """The block ``assessment`` of params.yaml."""

    # what happens if a world model fails on held-out steps: warn, and learn a policy in it all the same, or stop
    gate: Annotated[str, OneOf((WARN, STOP))] = WARN
