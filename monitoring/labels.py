"""What became of each answer: the log of predictions joined to what users said, and to what they rented."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring.prediction_log import served_features

LIKED_RATING = 4.0
"""A rating from which a user has liked a rental; a click, which has no rating, counts as well."""

RATING_SCALE = (1.0, 5.0)
"""Lowest and highest rating; others are left out and counted."""

NEEDED = {
    "predictions": ("request_id", "user_id", "model_version", "ok", "rental_ids", "timestamp"),
    "feedback": ("request_id", "user_id", "rental_id", "rating", "timestamp"),
    "ratings": ("user_id", "rental_id", "rating", "event_timestamp"),
}


@dataclass(frozen=True)
class Labelled:
    """Answers and what is known of them.

    Attributes:
        answers: a row per answer, index request_id: ``user_id``, ``model_version``, ``served_at``, ``ranked``
            (False where ratings of given rentals were asked for) and ``features`` (JSON text).
        shown: a row per rental of an answer: ``request_id``, ``rental_id``, ``position`` (0 is best),
            ``score`` and ``predicted_rating``.
        labels: a row per thing that a user said or rented, in order: ``request_id``, ``rental_id`` (null for
            the answer as a whole), ``rating`` (null for a click), ``delay`` from the answer until it was
            known, and ``rented`` (whether it is a rental, not what was said).
        left_out: rows that count for nothing, by reason.
    """

    answers: pd.DataFrame
    shown: pd.DataFrame
    labels: pd.DataFrame
    left_out: dict[str, int]

    def features(self, request_ids: "pd.Series[str] | pd.Index[str]") -> pd.DataFrame:
        """Return the features as served of some answers, a column each."""
        return served_features(self.answers.reindex(request_ids))


def labelled(
    predictions: pd.DataFrame, feedback: pd.DataFrame, ratings: pd.DataFrame | None, horizon: pd.Timedelta
) -> Labelled:
    """Join labels to answers; a rental belongs to the user's last answer before it, within the horizon.

    Args:
        predictions: as ``prediction_log.read_predictions`` returns them.
        feedback: as ``prediction_log.read_feedback`` does.
        ratings: ratings that arrived later, with ``arrived_at`` where that is not the time of the event.
        horizon: a rental that came later has nothing to do with the answer.

    Raises:
        ValueError: a frame lacks a column.
    """
    frames = {"predictions": predictions, "feedback": feedback, "ratings": ratings}
    for name, frame in frames.items():
        if frame is not None and (missing := set(NEEDED[name]) - set(frame)):
            raise ValueError(
                f"{name} lacks {sorted(missing)}; read it by monitoring.prediction_log or the lake"
            )
    left_out: dict[str, int] = {}
    answers, shown = _answers(predictions, left_out)
    said = _said(feedback, answers, shown, left_out)
    rented = _rented(ratings, answers, shown, horizon, left_out) if ratings is not None else said.iloc[:0]
    labels = pd.concat([said, rented], ignore_index=True).sort_values(
        "delay", kind="stable", ignore_index=True
    )
    return Labelled(answers, shown, labels, {why: count for why, count in left_out.items() if count})


def _answers(predictions: pd.DataFrame, left_out: dict[str, int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    proper = predictions[predictions["ok"].astype(bool)].sort_values("timestamp", kind="stable")
    left_out["attempts that gave no answer"] = len(predictions) - len(proper)
    answers = proper.drop_duplicates("request_id", keep="last").rename(columns={"timestamp": "served_at"})
    left_out["answers logged again"] = len(proper) - len(answers)
    columns = ["rental_ids", "scores", "predicted_ratings"]
    shown = answers[["request_id", *columns]].explode(columns).dropna(subset="rental_ids")
    shown.columns = pd.Index(["request_id", "rental_id", "score", "predicted_rating"])
    shown = shown.astype({"score": float, "predicted_rating": float})
    shown["position"] = shown.groupby("request_id").cumcount().astype(float)
    # Ratings of given rentals are answered in the order of the question, a ranking by falling scores.
    rises = shown.groupby("request_id")["score"].diff() > 0
    unranked = shown.loc[rises, "request_id"].unique()
    answers["ranked"] = ~answers["request_id"].isin(unranked)
    answers = answers.set_index("request_id")[["user_id", "model_version", "served_at", "ranked", "features"]]
    return answers, shown.drop_duplicates(["request_id", "rental_id"]).reset_index(drop=True)


def _said(
    feedback: pd.DataFrame, answers: pd.DataFrame, shown: pd.DataFrame, left_out: dict[str, int]
) -> pd.DataFrame:
    rows = feedback.sort_values("timestamp", kind="stable")
    rows = _on_scale(rows, "feedback", left_out)
    latest = rows.drop_duplicates(["request_id", "user_id", "rental_id", "rating"])
    left_out["feedback said again"] = len(rows) - len(latest)
    served = answers.reindex(latest["request_id"])
    unknown = served["user_id"].isna().to_numpy()
    another = ~unknown & (served["user_id"].to_numpy() != latest["user_id"].to_numpy())
    pairs = pd.MultiIndex.from_frame(latest[["request_id", "rental_id"]])
    known = pd.MultiIndex.from_frame(shown[["request_id", "rental_id"]])
    strange = ~unknown & ~another & latest["rental_id"].notna().to_numpy() & ~pairs.isin(known)
    left_out["feedback to an unknown request"] = int(unknown.sum())
    left_out["feedback by another user than the answer's"] = int(another.sum())
    left_out["feedback to a rental that was not in the answer"] = int(strange.sum())
    keep = ~(unknown | another | strange)
    labels = latest.loc[keep, ["request_id", "rental_id", "rating"]]
    delay = latest["timestamp"].to_numpy() - served["served_at"].to_numpy()
    return labels.assign(delay=pd.to_timedelta(delay[keep]), rented=False)


def _rented(
    ratings: pd.DataFrame,
    answers: pd.DataFrame,
    shown: pd.DataFrame,
    horizon: pd.Timedelta,
    left_out: dict[str, int],
) -> pd.DataFrame:
    rows = _on_scale(ratings.dropna(subset=["user_id", "event_timestamp"]), "ratings", left_out)
    unit = answers["served_at"].dtype
    rows = rows.assign(at=rows["event_timestamp"].astype(unit)).sort_values("at", kind="stable")
    ranked = answers[answers["ranked"]].reset_index().sort_values("served_at", kind="stable")
    asked = ranked[["request_id", "user_id", "served_at"]]
    found = pd.merge_asof(
        rows,
        asked,
        left_on="at",
        right_on="served_at",
        by="user_id",
        tolerance=horizon,
        allow_exact_matches=False,
    ).dropna(subset="request_id")
    known = found["arrived_at"].astype(unit) if "arrived_at" in found else found["at"]
    found["delay"] = known - found["served_at"]
    return found[["request_id", "rental_id", "rating", "delay"]].assign(rented=True)


def _on_scale(rows: pd.DataFrame, name: str, left_out: dict[str, int]) -> pd.DataFrame:
    rating = pd.to_numeric(rows["rating"], errors="coerce").astype(float)
    wrong = rating.notna() & ~rating.between(*RATING_SCALE)
    left_out[f"{name} off the scale of ratings"] = int(wrong.sum())
    return rows.assign(rating=rating.where(np.isfinite(rating)))[~wrong]
