"""A person's wish that a running rollout takes its canary back, left where the rollout looks for it."""

import sqlalchemy as sa

from serving.decision import Decision, Verdict
from serving.rollout_database import REQUEST, RolloutDatabase


def ask(database: RolloutDatabase, predictor: str, why: str) -> None:
    """Ask the rollout that runs to take ``predictor`` back."""
    with database.transaction() as connection:
        connection.execute(sa.delete(REQUEST))
        connection.execute(sa.insert(REQUEST), {"predictor": predictor, "why": why})


def asked(database: RolloutDatabase, predictor: str) -> Decision | None:
    """Return the decision that a person has asked for, None where nobody did, or of another predictor."""
    with database.transaction() as connection:
        why = connection.scalar(sa.select(REQUEST.c.why).where(REQUEST.c.predictor == predictor).limit(1))
    return None if why is None else Decision(Verdict.ROLLBACK, [by_hand(why)], {})


def withdraw(database: RolloutDatabase) -> None:
    """Forget what was asked."""
    with database.transaction() as connection:
        connection.execute(sa.delete(REQUEST))


def by_hand(why: str) -> str:
    """Return the reason of a decision that a person has made."""
    return f"by hand: {why}"
