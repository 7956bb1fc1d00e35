"""What was seen of the champion and the canary: by the prediction log and the feedback, or by the gateway."""

from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import pandas as pd

from monitoring.labels import LIKED_RATING
from monitoring.prediction_log import read_feedback, read_predictions
from serving.decision import Arm
from serving.gateway import PredictorStats
from serving.settings import ServingSettings

ArmReader = Callable[[str, str, datetime], tuple[Arm, Arm]]
"""Takes the predictors of champion and canary and the start of a step (UTC), gives both arms."""


def prediction_log_reader(settings: ServingSettings) -> ArmReader:
    """Return a reader of the prediction log of ``settings.lake``."""

    def read(champion: str, canary: str, since: datetime) -> tuple[Arm, Arm]:
        predictions = read_predictions(settings.lake, since)
        feedback = read_feedback(settings.lake, since)
        liked = feedback.loc[feedback["rating"].isna() | (feedback["rating"] >= LIKED_RATING), "request_id"]
        return tuple(  # type: ignore[return-value]
            _arm(predictions[predictions["predictor"] == name], liked) for name in (champion, canary)
        )

    return read


def gateway_reader(stats: Callable[[tuple[str, ...]], Mapping[str, PredictorStats]]) -> ArmReader:
    """Return a reader of what Envoy counts from the first look on; latencies are of all that it counted."""
    first: dict[str, PredictorStats] = {}

    def read(champion: str, canary: str, _: datetime) -> tuple[Arm, Arm]:
        now = stats((champion, canary))
        first.update({name: one for name, one in now.items() if name not in first})
        return tuple(  # type: ignore[return-value]
            Arm(
                requests=now[name].requests - first[name].requests,
                errors=now[name].errors - first[name].errors,
                latency_p95_ms=now[name].latency_p95_ms,
            )
            for name in (champion, canary)
        )

    return read


def _arm(predictions: pd.DataFrame, liked: "pd.Series[str]") -> Arm:
    proper = predictions[predictions["ok"].astype(bool)]
    ratings = [np.asarray(values, dtype=float) for values in proper["predicted_ratings"]]
    return Arm(
        requests=len(predictions),
        errors=len(predictions) - len(proper),
        latency_p95_ms=float(np.percentile(proper["latency_ms"], 95)) if len(proper) else None,
        predicted_ratings=np.concatenate(ratings).tolist() if ratings else [],
        # A user stays on one arm and asks again and again: each is one trial, or a few would decide for all.
        hits=int(proper.loc[proper["request_id"].isin(liked), "user_id"].nunique()),
        trials=int(proper["user_id"].nunique()),
    )
