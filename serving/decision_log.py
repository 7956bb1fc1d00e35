"""Every decision of a rollout, written before it is acted upon: what a killed rollout resumes from."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import sqlalchemy as sa

from serving.rollout_database import DECISIONS, RolloutDatabase


class Action(StrEnum):
    """What a rollout does next."""

    START = "start"
    """Give the canary its share."""

    PROMOTE = "promote"
    """Give it all the traffic."""

    ROLLBACK = "rollback"
    """Take it back, for good."""

    INTERRUPT = "interrupt"
    """Take it back though nothing was found against it: it was stopped, was late, or did not come up."""


@dataclass(frozen=True)
class LoggedDecision:
    """One line of the log."""

    at: datetime
    champion: str
    canary: str
    share: int
    """Percent of the traffic which the canary had, or gets when the action is ``start``."""

    action: Action
    reasons: list[str]
    figures: dict[str, float]


class DecisionLog(RolloutDatabase):
    """The decisions in a database; reading and writing may come from different processes."""

    def append(
        self,
        champion: str,
        canary: str,
        share: int,
        action: Action,
        reasons: list[str],
        figures: dict[str, float] | None = None,
    ) -> None:
        """Write a decision; it is on disk when this returns."""
        decision = {
            "at": datetime.now(UTC).isoformat(),
            **{"champion": champion, "canary": canary, "share": share, "action": action},
            **{"reasons": json.dumps(reasons), "figures": json.dumps(figures or {})},
        }
        with self.transaction() as connection:
            connection.execute(sa.insert(DECISIONS), decision)

    def read(self) -> list[LoggedDecision]:
        """Return all decisions, oldest first."""
        with self.transaction() as connection:
            rows = connection.execute(sa.select(DECISIONS).order_by(DECISIONS.c.id)).all()
        return [
            LoggedDecision(
                datetime.fromisoformat(row.at),
                *(row.champion, row.canary, row.share, Action(row.action)),
                *(json.loads(row.reasons), json.loads(row.figures)),
            )
            for row in rows
        ]

    def last(self) -> LoggedDecision | None:
        """The latest decision, None before the first."""
        decisions = self.read()
        return decisions[-1] if decisions else None

    def rolled_back(self, canary: str) -> LoggedDecision | None:
        """The latest decision by which ``canary`` was taken back for good, if there is one."""
        against = [one for one in self.read() if one.canary == canary and one.action is Action.ROLLBACK]
        return against[-1] if against else None
