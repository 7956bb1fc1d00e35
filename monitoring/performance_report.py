"""All that the log tells of performance, at one call: the table over time, what is missing, and alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring.deterioration import Deterioration, deterioration
from monitoring.labels import labelled
from monitoring.missing_ratings import estimates, who_rates
from monitoring.outcomes import ALL, outcomes
from monitoring.performance import as_table, performance_table
from monitoring.served_roles import ServedFeatures
from monitoring.settings import MonitoringSettings


@dataclass(frozen=True)
class PerformanceReport:
    """How good what was served is.

    Attributes:
        table: as ``performance_table`` returns it, with estimates of the RMSE where ratings are awaited.
        answers: answers that were judged, all versions.
        awaited: those of them whose labels may still come.
        horizon: the time an answer has for its labels.
        left_out: rows that count for nothing, by reason.
        watched: what is known of the version that serves.
        notes: what else must be known to read the figures.
    """

    table: pd.DataFrame
    answers: int
    awaited: int
    horizon: pd.Timedelta
    left_out: Mapping[str, int]
    watched: Sequence[Deterioration]
    notes: Sequence[str]

    @property
    def alarms(self) -> list[str]:
        """What got worse, in words."""
        return [str(each) for each in self.watched if each.alarm]

    def __str__(self) -> str:
        """The report in words: the last two periods of each version, verdicts, and what is missing."""
        if not self.answers:
            return "no answer is logged: nothing is known of performance"
        lines = [
            f"{self.answers:,} answers, {self.awaited:,} of them awaited: an answer has "
            f"{in_words(self.horizon)} for its labels"
        ]
        everybody = self.table[self.table["segment"] == ALL]
        for _, group in everybody.groupby("model_version"):
            last = np.sort(group["period_start"].unique())[-2:]
            for row in group[group["period_start"].isin(last)].to_dict("records"):
                lines.append(
                    f"version {row['model_version']} from {row['period_start']:%Y-%m-%d}  {row['metric']:22}"
                    f"{row['value']:7.3f} [{row['lower']:.3f}, {row['upper']:.3f}]  {row['count']:,}"
                    f"{'  estimated' if row['estimated'] else ''}"
                )
        lines += [f"{'WORSE' if each.alarm else 'same ':5}  {each}" for each in self.watched]
        lines += self.notes
        lines += [f"left out: {count:,} {why}" for why, count in self.left_out.items()]
        return "\n".join(lines)


def measure(
    predictions: pd.DataFrame,
    feedback: pd.DataFrame,
    ratings: pd.DataFrame | None,
    now: pd.Timestamp,
    version: str,
    features: ServedFeatures,
    settings: MonitoringSettings | None = None,
) -> PerformanceReport:
    """Judge what was served by what became of it.

    Args:
        predictions: as ``prediction_log.read_predictions`` returns them.
        feedback: as ``prediction_log.read_feedback`` does.
        ratings: ratings that arrived later (``user_id``, ``rental_id``, ``rating``, ``event_timestamp`` and,
            where it is another time, ``arrived_at``); None where nothing is known of what was rented.
        now: until when labels were collected.
        version: the one that serves, whose alarms are asked for.
        features: the roles of the features as served.
        settings: thresholds; by default from the environment.

    Raises:
        ValueError: a frame lacks a column.
    """
    settings = settings or MonitoringSettings()
    longest = pd.Timedelta(days=settings.performance_horizon_days)
    found = labelled(predictions, feedback, ratings, longest)
    judged = outcomes(found, now, longest, features.segments, features.activity)
    notes: list[str] = []
    figures = performance_table(judged, settings.performance_period)
    estimated = as_table(estimates(found, judged, features, settings, notes))
    table = pd.concat([figures, estimated], ignore_index=True)
    table = table.sort_values(["period_start", "model_version", "segment", "metric"], ignore_index=True)
    if len(judged.answers):
        notes.append(who_rates(found, judged, version, features, settings))
    watched = deterioration(judged, version, settings)
    awaited = int((~judged.answers["mature"]).sum())
    return PerformanceReport(
        table, len(judged.answers), awaited, judged.horizon, found.left_out, watched, notes
    )


def in_words(time: pd.Timedelta) -> str:
    """Return a time such as ``7 days``."""
    for unit, one in (("days", "1D"), ("hours", "1h"), ("minutes", "1min")):
        if time >= pd.Timedelta(one):
            return f"{time / pd.Timedelta(one):g} {unit}"
    return f"{time.total_seconds():g} seconds"
