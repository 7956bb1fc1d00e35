"""Whether a version got worse since it began to serve, told at any time with one stated rate of false alarms.

The first users of the version are its reference. The level of an alarm is shared by both figures, and of each
by its reference, whose true mean is not known either, and the tests that follow.
"""

from dataclasses import dataclass
from math import exp, log, nan

import numpy as np
import pandas as pd

from monitoring import betting
from monitoring.outcomes import Outcomes
from monitoring.performance import FREQUENCIES
from monitoring.settings import MonitoringSettings

WATCHED = {"rmse": "RMSE (errors up to 2 stars)", "reward_share": "share of liked answers"}
"""The figures that can raise an alarm, in words."""

LARGEST_SQUARED_ERROR = 2.0**2
"""In squared stars; an error of more than two stars counts as two. Evidence is on bounded losses, and the
wider the bounds the later it is there: a few great surprises would have to be told from many small ones."""


@dataclass(frozen=True)
class Deterioration:
    """What is known of one figure of a version.

    Attributes:
        metric: a key of ``WATCHED``.
        version: of the model.
        reference_users: users of the reference so far.
        reference: the figure of these users; NaN while they are too few.
        limit: what the figure must not pass: the worst that the reference may truly be, and the margin.
        users: how many the test with the largest evidence took; 0 if there is none yet.
        current: their figure.
        since: begin of that test.
        log_evidence: logarithm of how much better the data agree with a figure past the limit.
        needed: what it must reach for an alarm.
    """

    metric: str
    version: str
    reference_users: int
    reference: float = nan
    limit: float = nan
    users: int = 0
    current: float = nan
    since: pd.Timestamp | None = None
    log_evidence: float = 0.0
    needed: float = nan

    @property
    def alarm(self) -> bool:
        """Whether the figure got worse."""
        return self.log_evidence >= self.needed

    def __str__(self) -> str:
        """The verdict in a line."""
        name = f"{WATCHED[self.metric]} of version {self.version}"
        if np.isnan(self.reference):
            return f"{name}: not judged, its reference has {self.reference_users:,} users so far"
        if self.since is None:
            return f"{name}: {self.reference:.3f} in its reference, nothing to judge yet"
        verb = ("rose" if self.metric == "rmse" else "fell") if self.alarm else "is not surely worse:"
        return (
            f"{name} {verb} from {self.reference:.3f} to {self.current:.3f} since {self.since:%Y-%m-%d} "
            f"(limit {self.limit:.3f}; {self.users:,} users; evidence {exp(min(self.log_evidence, 99)):.3g}, "
            f"an alarm from {exp(self.needed):.0f})"
        )


def deterioration(
    outcomes: Outcomes, version: str, settings: MonitoringSettings | None = None
) -> list[Deterioration]:
    """Judge a version by its squared errors and its rewards, each against its own first users.

    While neither is worse than its margin, an alarm is ever raised in the life of a version with a chance of
    at most ``performance_false_alarm_level``, however often it is looked at and however much one user says.
    That holds for users who are independent of each other and, on average, alike.
    """
    settings = settings or MonitoringSettings()
    answers = outcomes.answers[outcomes.answers["mature"] & (outcomes.answers["model_version"] == version)]
    squared = (outcomes.squared_errors() / LARGEST_SQUARED_ERROR).clip(upper=1)
    rated = answers.join(squared.groupby(outcomes.ratings["request_id"]).mean().rename("loss"), how="inner")
    ranked = answers[answers["ranked"]]
    return [
        _judge("rmse", version, rated, settings),
        _judge("reward_share", version, ranked.assign(loss=1 - ranked["liked"]), settings),
    ]


def _judge(metric: str, version: str, rows: pd.DataFrame, settings: MonitoringSettings) -> Deterioration:
    """Compare the column ``loss`` (0..1) of later answers with that of the first users."""
    rows = rows.sort_values("served_at", kind="stable")
    losses, users = rows["loss"].to_numpy(), rows["user"].to_numpy()
    first = np.flatnonzero(~rows["user"].duplicated())[: settings.performance_reference_users]
    if len(first) < settings.performance_reference_users:
        return Deterioration(metric, version, len(first))
    level = settings.performance_false_alarm_level / len(WATCHED) / 2
    bound = betting.upper_bound(losses[first], level)
    if metric == "rmse":
        limit = bound * (1 + settings.performance_rmse_margin) ** 2
    else:
        limit = 1 - (1 - bound) * (1 - settings.performance_reward_margin)
    reference, limit_figure = _figure(metric, losses[first].mean()), _figure(metric, min(limit, 1.0))
    after = int(first[-1]) + 1
    begins = _begins(rows.iloc[after:], settings)
    # Nothing is worse than the worst there is.
    if limit >= 1 or not len(begins):
        return Deterioration(metric, version, len(first), reference, limit_figure)
    tests = betting.restarts(losses[after:], users[after:], begins, limit)
    strongest = max(tests, key=lambda test: test.log_evidence)
    return Deterioration(
        metric,
        version,
        len(first),
        reference,
        limit_figure,
        strongest.taken,
        _figure(metric, strongest.mean),
        rows["served_at"].iloc[after + strongest.first],
        strongest.log_evidence,
        -log(level),
    )


def _figure(metric: str, loss: float) -> float:
    """Return the figure whose mean loss this is."""
    return float((loss * LARGEST_SQUARED_ERROR) ** 0.5 if metric == "rmse" else 1 - loss)


def _begins(rows: pd.DataFrame, settings: MonitoringSettings) -> np.ndarray:
    """Places of the first answer of each period."""
    frequency = FREQUENCIES[settings.performance_period]
    periods = rows["served_at"].dt.tz_convert("UTC").dt.tz_localize(None).dt.to_period(frequency)
    return np.flatnonzero(~periods.duplicated())
