"""The loop's brake: why an alarm may not start a training now."""

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from pathlib import Path

import pandas as pd

from flows.retraining_log import Outcome, Retraining
from flows.settings import FlowSettings


def objection(
    until: pd.Timestamp,
    past: Sequence[Retraining],
    now: datetime,
    stopped: str | None,
    settings: FlowSettings,
) -> str | None:
    """Return why an alarm must not start a training now, None where it may.

    Args:
        until: day before which ratings count for this training.
        past: the trainings so far, oldest first.
        now: the time, aware.
        stopped: the reason of a person's stop, None where there is none.
        settings: cool-down, budget and patience.
    """
    if stopped is not None:
        return f"retraining is stopped ({stopped}); `python -m flows retraining --go` lets it go on"
    if (count := fruitless(past)) >= settings.retrain_patience:
        return (
            f"the last {count} trainings brought nothing; find out why, then "
            "`python -m flows retraining --go`"
        )
    trainings = [one for one in past if one.outcome is not Outcome.FORGIVEN]
    # One that failed has learnt nothing from its data: it may be tried again at once.
    learnt = [one for one in trainings if one.outcome not in (Outcome.FAILED, Outcome.RUNNING)]
    vain = len(list(takewhile(lambda one: one.outcome is not Outcome.REGISTERED, reversed(learnt))))
    days = settings.retrain_cooldown_days * 2 ** min(vain, fruitless(past))
    if learnt and 0 <= (until - learnt[-1].until).days < days:
        return (
            f"the last training was on data until {learnt[-1].until:%Y-%m-%d}: the next one may be on data "
            f"{days} days later"
        )
    today = [one for one in trainings if (now - one.began_at).total_seconds() < 24 * 3600]
    if len(today) >= settings.retrain_daily_budget:
        return f"{len(today)} trainings began within a day, which is the budget"
    return None


def fruitless(past: Sequence[Retraining]) -> int:
    """Count the latest trainings in a row that brought no version which serves, or may yet."""
    count = 0
    for one in reversed(past):
        if one.outcome in (Outcome.REGISTERED, Outcome.FORGIVEN):
            break
        count += 1
    return count


def stop_file(settings: FlowSettings) -> Path:
    """While this file is there, nothing is trained; its text says who stopped it and why."""
    return settings.home / "retraining-stopped"


def stopped(settings: FlowSettings) -> str | None:
    """Why a person has stopped all training, None where nobody has."""
    try:
        return stop_file(settings).read_text().strip() or "no reason given"
    except FileNotFoundError:
        return None
