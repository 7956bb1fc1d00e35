"""What was seen of the champion and the canary, out of the prediction log and the feedback."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd

from monitoring.prediction_log import read_feedback, read_predictions
from serving.decision import Arm
from serving.settings import ServingSettings

ArmReader = Callable[[str, str, datetime], tuple[Arm, Arm]]
"""Takes the predictors of champion and canary and the start of a step (UTC), gives both arms."""

LIKED_RATING = 4.0
"""A rating from which a user has liked a rental; a click, which has no rating, counts as well."""


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


def _arm(predictions: pd.DataFrame, liked: "pd.Series[str]") -> Arm:
    proper = predictions[predictions["ok"].astype(bool)]
    ratings = [np.asarray(values, dtype=float) for values in proper["predicted_ratings"]]
    return Arm(
        requests=len(predictions),
        errors=len(predictions) - len(proper),
        latencies_ms=proper["latency_ms"].tolist(),
        predicted_ratings=np.concatenate(ratings).tolist() if ratings else [],
        hits=int(proper["request_id"].isin(liked).sum()),
        trials=len(proper),
    )
