"""How good the served model is over time: by period, version and segment, from what became of its answers.

Errors are of those who rated what they were shown, and of nobody else: whoever shuns a bad rental leaves no
error. Rewards and NDCG count every answer that had its time; one to which nothing came counts 0.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd

from monitoring.intervals import Figure, mean, root_mean, share, slope
from monitoring.outcomes import ALL, Outcomes

Period = Literal["day", "week", "month"]

FREQUENCIES: dict[Period, str] = {"day": "D", "week": "W-SUN", "month": "M"}
"""A week begins on Monday; all are in UTC."""

COLUMNS: Any = {
    "period_start": "datetime64[us, UTC]",
    "period_end": "datetime64[us, UTC]",
    "model_version": str,
    "segment": str,
    "metric": str,
    "value": float,
    "lower": float,
    "upper": float,
    "count": int,
    "estimated": bool,
}
"""The table of performance, by type; ``period_end`` is the start of the next one."""

LEAST_SEEN = 0.2
"""With fewer of its labels expected by now a period's reward is not estimated: it would be mostly a guess."""

_OF_RATINGS: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "rmse": lambda rows: root_mean((rows["error"] ** 2).to_numpy(), rows["user"].to_numpy()),
    "calibration_error": lambda rows: mean(rows["error"].to_numpy(), rows["user"].to_numpy()),
    "calibration_slope": lambda rows: slope(
        rows["predicted_rating"].to_numpy(), rows["rating"].to_numpy(), rows["user"].to_numpy()
    ),
}
"""Error, mean of predicted less given rating, and how much of a predicted step is one: 1 is calibrated."""


def performance_table(outcomes: Outcomes, period: Period) -> pd.DataFrame:
    """Return the figures of all periods, versions and segments, with 95 % intervals over users.

    Metrics: ``rmse``, ``calibration_error`` (stars, above 0 where ratings are predicted too high) and
    ``calibration_slope`` of the ratings; ``reward_share`` (answers of which something was liked),
    ``rated_share`` (answers that got a rating) and ``ndcg_at_10`` of the answers; ``ndcg_at_10_of_renters``
    of those after which the user rented, where that is known: the one to compare with an evaluation.

    Returns:
        A frame with ``COLUMNS``, a row per figure that there is. ``count`` is the ratings or answers of it.
        ``estimated`` is True where labels that have not come yet are estimated, by how long labels take.
    """
    answers = in_periods(outcomes.answers, period)
    ratings = outcomes.ratings.join(answers, on="request_id", how="inner", rsuffix="_of_answer")
    ratings = ratings[ratings["mature"]]
    ratings = ratings.assign(error=ratings["predicted_rating"] - ratings["rating"])
    rows = [
        *_grouped(ratings, outcomes.segments, _of_ratings),
        *_grouped(answers[answers["ranked"]], outcomes.segments, _of_answers),
    ]
    return as_table(rows)


def as_table(rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """Return rows as a frame with ``COLUMNS``."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def in_periods(answers: pd.DataFrame, period: Period) -> pd.DataFrame:
    """Return the answers with ``period_start`` and ``period_end`` (UTC)."""
    at = answers["served_at"].dt.tz_convert("UTC").dt.tz_localize(None).dt.to_period(FREQUENCIES[period])
    begin = at.dt.start_time.dt.tz_localize("UTC")
    end = (at + 1).dt.start_time.dt.tz_localize("UTC")
    return answers.assign(period_start=begin, period_end=end)


def _grouped(
    rows: pd.DataFrame,
    segments: list[str],
    figures: Callable[[pd.DataFrame], Iterator[tuple[str, Figure, int, bool]]],
) -> Iterator[tuple[object, ...]]:
    keys = ["period_start", "period_end", "model_version"]
    for segment in (None, *segments):
        for key, group in rows.groupby([*keys, segment] if segment else keys, observed=True):
            for metric, figure, count, estimated in figures(group):
                yield (*key[:3], key[3] if segment else ALL, metric, *figure, count, estimated)


def _of_ratings(rows: pd.DataFrame) -> Iterator[tuple[str, Figure, int, bool]]:
    for metric, figure in _OF_RATINGS.items():
        found = figure(rows)
        if not np.isnan(found.value):
            yield metric, found, len(rows), False


def _of_answers(rows: pd.DataFrame) -> Iterator[tuple[str, Figure, int, bool]]:
    mature = rows[rows["mature"]]
    renters = mature[mature["rented"] > 0]
    for metric, of, column in (
        ("reward_share", mature, "liked"),
        ("rated_share", mature, "rated"),
        ("ndcg_at_10", mature, "ndcg"),
        ("ndcg_at_10_of_renters", renters, "ndcg"),
    ):
        if len(of):
            yield metric, share(of[column].to_numpy(), of["user"].to_numpy()), len(of), False
    seen = rows["seen"].to_numpy()
    # The mean is NaN where nothing is known of delays.
    if len(mature) < len(rows) and seen.mean() >= LEAST_SEEN:
        yield "reward_share", share(rows["liked"].to_numpy(), rows["user"].to_numpy(), seen), len(rows), True
