"""What a policy came to: each month's answers and trainings, and its figures beside the others'."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from flows.replaying.policies import Policy
from flows.retraining_log import Outcome

if TYPE_CHECKING:
    from models.served_scores import ServedScores


@dataclass(frozen=True)
class Training:
    """One training of a policy.

    Attributes:
        month: at whose begin it ran.
        reason: what asked for it.
        seconds: of fitting.
        outcome: what became of its version.
        detail: why, in words.
        shift: since when the data had moved, by the change-point of the first alarm; None where none tells.
        promoted_at: from when on its version served everybody.
    """

    month: pd.Timestamp
    reason: str
    seconds: float
    outcome: Outcome
    detail: str
    shift: pd.Timestamp | None = None
    promoted_at: pd.Timestamp | None = None


@dataclass(frozen=True)
class Month:
    """What people were shown in a month, event by event, and what was trained at its begin.

    Attributes:
        begin: its first day.
        version: until when the version had learnt that serves at its end.
        users: ids [events].
        squared_error: of the predicted ratings, in stars² [events].
        ndcg: NDCG@10, NaN where an event does not count [events].
        training: None where nothing was trained.
    """

    begin: pd.Timestamp
    version: pd.Timestamp
    users: np.ndarray
    squared_error: np.ndarray
    ndcg: np.ndarray
    training: Training | None


def month_of(
    begin: pd.Timestamp,
    version: pd.Timestamp,
    events: pd.DataFrame,
    shown: "ServedScores",
    training: Training | None,
) -> Month:
    """Score what was shown by what was taken and given."""
    error = (shown.predicted - events["rating"].to_numpy(np.float64)) ** 2
    return Month(begin, version, events["user_id"].to_numpy(), error, shown.ndcg, training)


def summary(policies: Mapping[Policy, Sequence[Month]]) -> dict[str, Any]:
    """Return the figures of all policies, over all months and by month, as plain values.

    Each stands beside the policy that trains most and the one that never does, by differences of the same
    events: ``gain_over_…`` is above zero where it is the better one, with a 95 % interval over users.
    """
    figures = {str(policy): _figures(months) for policy, months in policies.items()}
    best = figures[Policy.MONTHLY]
    for policy, one in figures.items():
        one["rmse_ratio_to_monthly"] = one["rmse"] / best["rmse"]
        one["ndcg10_ratio_to_monthly"] = one["ndcg10"] / best["ndcg10"]
        for other in (Policy.MONTHLY, Policy.NEVER):
            one[f"gain_over_{other}"] = _gains(policies[Policy(policy)], policies[other])
    return figures


def _figures(months: Sequence[Month]) -> dict[str, Any]:
    trainings = [month.training for month in months if month.training]
    return {
        "rmse": float(np.sqrt(_joined(months, "squared_error").mean())),
        "ndcg10": float(np.nanmean(_joined(months, "ndcg"))),
        "trainings": len(trainings),
        "training_seconds": round(sum(one.seconds for one in trainings), 1),
        "promoted": sum(one.promoted_at is not None for one in trainings),
        "months": [
            {
                "month": f"{month.begin:%Y-%m}",
                "version": f"{month.version:%Y-%m-%d}",
                "events": len(month.users),
                "rmse": float(np.sqrt(month.squared_error.mean())),
                "ndcg10": float(np.nanmean(month.ndcg)),
            }
            for month in months
        ],
        "each_training": [_plain(one) for one in trainings],
    }


def _joined(months: Sequence[Month], figure: str) -> np.ndarray:
    return np.concatenate([getattr(month, figure) for month in months])


def _gains(own: Sequence[Month], other: Sequence[Month]) -> dict[str, Any]:
    from models.metrics import interval

    gains = {
        "squared_error": _joined(other, "squared_error") - _joined(own, "squared_error"),
        "ndcg10": _joined(own, "ndcg") - _joined(other, "ndcg"),
    }
    found, users = {}, _joined(own, "users")
    for figure, gain in gains.items():
        kept = np.isfinite(gain)
        found[figure] = {"gain": float(gain[kept].mean()), "interval": interval(gain[kept], users[kept])}
    return found


def _plain(training: Training) -> dict[str, Any]:
    shift, promoted = training.shift, training.promoted_at
    return {
        "month": f"{training.month:%Y-%m}",
        "reason": training.reason,
        "seconds": round(training.seconds, 1),
        "outcome": str(training.outcome),
        "detail": training.detail,
        "shift": None if shift is None else f"{shift:%Y-%m-%d}",
        "promoted_at": None if promoted is None else f"{promoted:%Y-%m-%d}",
        "days_from_shift_to_promotion": (promoted - shift).days if shift is not None and promoted else None,
    }
