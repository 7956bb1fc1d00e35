"""What each answer, and each rating of a recommended rental, is worth to the figures of performance.

Every answer gets the same time for its labels, the horizon: later ones count for nobody, and an answer that
is younger is awaited. Without that rule a fresh answer would look like a miss, and an old one too good.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring.label_delay import LabelDelay, label_delay
from monitoring.labels import LIKED_RATING, Labelled

CUT = 10
"""Length of the list of NDCG@10, as in the evaluation of a model."""

ALL = "all"
"""The segment of everybody."""

MOST_VALUES = 10
"""Values of one feature that are segments of their own, the most frequent ones."""

_DISCOUNTS = 1 / np.log2(np.arange(CUT) + 2)


@dataclass(frozen=True)
class Outcomes:
    """What became of answers within the horizon.

    Attributes:
        answers: a row per answer, index request_id: ``user`` (0, 1, …), ``model_version``, ``served_at``,
            ``ranked``, ``mature`` (older than the horizon), ``seen`` (the share of its labels that must have
            come by now; NaN where nothing is known of delays), ``liked``, ``rated``, ``rented`` (0 or 1),
            ``ndcg``, and a column per segment.
        ratings: a row per rating of a rental of an answer: ``request_id``, ``rental_id``, ``rating`` and
            ``predicted_rating`` (1..5).
        horizon: the time that every answer has for its labels.
        delay: how long labels take.
    """

    answers: pd.DataFrame
    ratings: pd.DataFrame
    horizon: pd.Timedelta
    delay: LabelDelay

    @property
    def segments(self) -> list[str]:
        """The columns of segments."""
        columns = [str(name) for name in self.answers]
        return columns[columns.index("ndcg") + 1 :]

    def squared_errors(self) -> pd.Series:
        """Return the squared error of each rating, in squared steps of the scale."""
        return (self.ratings["rating"] - self.ratings["predicted_rating"]) ** 2


def outcomes(
    labelled: Labelled,
    now: pd.Timestamp,
    longest: pd.Timedelta,
    segments: Sequence[str] = (),
    activity: str | None = None,
) -> Outcomes:
    """Judge answers by their labels within the horizon, which follows from how long labels take.

    Args:
        labelled: answers and labels.
        now: until when labels were collected.
        longest: horizon where the log tells nothing of delays, and the longest one.
        segments: categorical features as served whose values are segments.
        activity: a feature as served that counts what is known of a user: zero or missing is a cold start.
    """
    answers, shown = labelled.answers, labelled.shown
    labels = labelled.labels.merge(shown, on=["request_id", "rental_id"], how="left")
    age = (now - answers["served_at"]).dt.total_seconds()
    delays = labels["delay"].dt.total_seconds().to_numpy()
    delay = label_delay(delays, age.loc[labels["request_id"]].to_numpy())
    horizon = delay.horizon(longest)
    labels = _latest(labels[delays <= horizon.total_seconds()])
    judged = answers.assign(user=pd.factorize(answers["user_id"])[0], mature=age > horizon.total_seconds())
    whole = float(delay.share(np.array(horizon.total_seconds()))) or np.nan
    judged["seen"] = np.where(judged["mature"], 1.0, np.minimum(delay.share(age.to_numpy()) / whole, 1.0))
    of_answer = labels["position"].notna() | labels["rental_id"].isna()
    liked = of_answer & (labels["rating"].isna() | (labels["rating"] >= LIKED_RATING))
    rated = labels["rating"].notna() & labels["predicted_rating"].notna()
    for name, holds in {"liked": liked, "rated": rated, "rented": labels["rented"]}.items():
        judged[name] = judged.index.isin(labels.loc[holds, "request_id"]).astype(float)
    judged["ndcg"] = _ndcg(labels).reindex(judged.index).fillna(0.0)
    judged = judged.drop(columns=["user_id", "features"])
    columns = ["request_id", "rental_id", "rating", "predicted_rating"]
    ratings = labels.loc[rated, columns].reset_index(drop=True)
    return Outcomes(judged.join(_segments(labelled, segments, activity)), ratings, horizon, delay)


def _latest(labels: pd.DataFrame) -> pd.DataFrame:
    """One label per rental of an answer: what was said last, or the rating where there is one."""
    keys = ["request_id", "rental_id"]
    rented = labels.groupby(keys, dropna=False)["rented"].transform("any").astype(bool)
    # A rental that was clicked, then rented and rated, is the rated one.
    rated_last = labels.assign(rented=rented, is_rated=labels["rating"].notna())
    rated_last = rated_last.sort_values("is_rated", kind="stable")
    return rated_last.drop_duplicates(keys, keep="last", ignore_index=True)


def _ndcg(labels: pd.DataFrame) -> pd.Series:
    """NDCG of each answer with a chosen rental; one that was not shown is a gain that was missed."""
    chosen = labels.dropna(subset="rental_id")
    place = chosen["position"].fillna(CUT).clip(upper=CUT).astype(int).to_numpy()
    gains = pd.Series(np.append(_DISCOUNTS, 0.0)[place], index=chosen["request_id"]).groupby(level=0).sum()
    wanted = chosen.groupby("request_id").size().clip(upper=CUT).to_numpy(int)
    return gains / np.append(0.0, np.cumsum(_DISCOUNTS))[wanted]


def _segments(labelled: Labelled, segments: Sequence[str], activity: str | None) -> pd.DataFrame:
    """A column per feature with the segment of each answer in words; null where it is in none."""
    features = labelled.features(labelled.answers.index) if len(labelled.answers) else pd.DataFrame()
    found = pd.DataFrame(index=labelled.answers.index)
    if activity in features:
        unknown = pd.to_numeric(features[activity], errors="coerce").fillna(0) == 0
        found["activity"] = np.where(unknown, "cold start", "known user")
    for name in (each for each in segments if each in features):
        values = features[name].dropna().astype(str)
        values = values[values != ""]
        frequent = values.value_counts().index[:MOST_VALUES]
        found[name] = name + ": " + values.where(values.isin(frequent), "other")
    return found
