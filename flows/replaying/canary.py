"""A canary among the people of a recorded month: the real prediction log, its reader and the real decision.

What was recorded are rentals that were taken, so each person asks once for each. Whoever is shown what they
took among the ten best gives the rating that they gave; answers take no time here.
"""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flows.replaying.versions import mixed
from flows.training import feature_columns

if TYPE_CHECKING:
    from models.served_scores import ServedScores
    from serving.decision import Decision

CANARY_SHARE = 25
"""Percent of the people who get the canary: what was recorded is far less than an app is asked, and at 10 %
a month would hardly suffice for a decision."""

BUCKETS = 100


@dataclass(frozen=True)
class Outcome:
    """How a canary ended, when, and what people were shown meanwhile and after."""

    decision: "Decision"
    promoted: bool
    at: pd.Timestamp
    shown: "ServedScores"


def run_canary(
    events: pd.DataFrame,
    champion: tuple[int, "ServedScores"],
    canary: tuple[int, "ServedScores"],
    home: Path,
) -> Outcome:
    """Show the canary to its share of a month's people, look each day, and act on the decision.

    The evening after the last day is the deadline: what is undecided then is rolled back.

    Args:
        events: of the month, oldest first.
        champion: number of its version, and its answers to all events.
        canary: the same.
        home: folder of the prediction log.
    """
    from serving.arms import prediction_log_reader
    from serving.decision import Verdict, decide
    from serving.settings import DecisionThresholds, ServingSettings
    from serving.triton import predictor_name

    look = prediction_log_reader(ServingSettings(home=home))
    names = predictor_name(champion[0]), predictor_name(canary[0])
    theirs = np.array([zlib.crc32(user.encode()) % BUCKETS < CANARY_SHARE for user in events["user_id"]])
    shown = mixed(champion[1], canary[1], theirs)
    days = events["event_timestamp"].dt.floor("D")
    since = days.iloc[0]
    for day in days.unique():
        today = (days == day).to_numpy()
        for number, part in ((champion[0], today & ~theirs), (canary[0], today & theirs)):
            write_log(events, shown, part, number, home)
        decision = decide(*look(*names, since.to_pydatetime()), DecisionThresholds())
        if decision.verdict is not Verdict.HOLD:
            break
    else:
        why = f"not proven by the month's end: {'; '.join(decision.reasons)}"
        decision = replace(decision, reasons=[why])
    promoted, later = decision.verdict is Verdict.PROMOTE, (days > day).to_numpy()
    write_log(
        events, canary[1] if promoted else champion[1], later, canary[0] if promoted else champion[0], home
    )
    shown = mixed(champion[1], canary[1], np.where(later, promoted, theirs))
    return Outcome(decision, promoted, day + pd.Timedelta(days=1), shown)


def write_log(
    events: pd.DataFrame, answers: "ServedScores", part: np.ndarray, version: int, home: Path
) -> None:
    """Write the answers to the events of the mask ``part`` and the feedback to them, as the API does."""
    from monitoring import log_files
    from monitoring.log_entries import SCHEMAS, Feedback, Prediction, as_row
    from serving.settings import ServingSettings
    from serving.triton import predictor_name

    settings = ServingSettings(home=home)
    inputs = [name for name in feature_columns().user if name != "user_id"]
    predictions, feedback = [], []
    chosen = events[part]
    rows = zip(chosen.to_dict("records"), np.flatnonzero(part), strict=True)
    for event, number in rows:
        at = event["event_timestamp"].to_pydatetime()
        scores, ratings = answers.scores[number], answers.ratings[number]
        predictions.append(
            Prediction(
                request_id=event["rating_id"],
                user_id=event["user_id"],
                model_name=settings.model_name,
                model_version=str(version),
                predictor=predictor_name(version),
                ok=bool(np.isfinite(scores).all() and np.isfinite(ratings).all()),
                features={name: event[name] for name in inputs},
                rental_ids=answers.rental_ids[number].tolist(),
                scores=scores.tolist(),
                predicted_ratings=ratings.tolist(),
                latency_ms=0.0,
                timestamp=at,
            )
        )
        # A rating that became known later than its day was not there when the canary was looked at.
        prompt = event["arrived_at"].floor("D") == event["event_timestamp"].floor("D")
        if prompt and event["rental_id"] in answers.rental_ids[number]:
            feedback.append(
                Feedback(event["rating_id"], event["user_id"], event["rental_id"], event["rating"], at)
            )
    for kind, entries in (("predictions", predictions), ("feedback", feedback)):
        if entries:
            log_files.append([as_row(one) for one in entries], SCHEMAS[kind], settings.lake / kind)
