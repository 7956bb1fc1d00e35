"""What the control API is asked to do."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

LONGEST_REASON = 500
"""Characters of a person's reason: some sentences, which the log of decisions keeps for good."""

Reason = Annotated[
    str,
    # No command line and no file name takes a NUL.
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_REASON, pattern=r"^[^\x00]*$"),
]


class Act(BaseModel):
    """What a person does, and why."""

    model_config = ConfigDict(extra="forbid")

    why: Reason


class RollbackAct(Act):
    """Take a version back."""

    predictor: str = Field(max_length=63)
    """What the person means, as ``rollback.predictor`` of ``GET /now`` names it."""


class RetrainAct(Act):
    """Train again."""

    roll_out: bool = False
    """Whether a version that passes the gate gets its traffic step by step."""


class Done(BaseModel):
    """What happened."""

    done: str
