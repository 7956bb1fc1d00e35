"""The entries of the prediction log, and the columns in which they are stored."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_TEXT, _NUMBER = pa.string(), pa.float64()
PREDICTIONS = pa.schema(
    {
        "request_id": _TEXT,
        "user_id": _TEXT,
        "model_name": _TEXT,
        "model_version": _TEXT,
        "predictor": _TEXT,
        "ok": pa.bool_(),
        "features": _TEXT,
        "rental_ids": pa.list_(_TEXT),
        "scores": pa.list_(_NUMBER),
        "predicted_ratings": pa.list_(_NUMBER),
        "latency_ms": _NUMBER,
        "timestamp": _TIMESTAMP,
        "features_failure": _TEXT,
    }
)
FEEDBACK = pa.schema(
    {"request_id": _TEXT, "user_id": _TEXT, "rental_id": _TEXT, "rating": _NUMBER, "timestamp": _TIMESTAMP}
)
SCHEMAS = {"predictions": PREDICTIONS, "feedback": FEEDBACK}


@dataclass(frozen=True)
class Prediction:
    """One answered (or failed) request; the three lists are of one length, best rental first.

    Raises:
        ValueError: the lists differ in length or ``timestamp`` has no time zone.
    """

    request_id: str
    user_id: str
    model_name: str
    model_version: str
    predictor: str
    ok: bool
    features: Mapping[str, Any]
    """The features exactly as the model got them."""
    rental_ids: Sequence[str]
    scores: Sequence[float]
    predicted_ratings: Sequence[float]
    latency_ms: float
    timestamp: datetime
    features_failure: str | None = None
    """Why the feature store did not answer: ``features`` are then older ones, or those of an unknown user."""

    def __post_init__(self) -> None:
        lengths = {len(self.rental_ids), len(self.scores), len(self.predicted_ratings)}
        if len(lengths) > 1:
            raise ValueError(
                "rental_ids, scores and predicted_ratings differ in length; give one of each per rental"
            )
        _aware(self.timestamp)


@dataclass(frozen=True)
class Feedback:
    """What a user said to a rental of an answer; without a rating it is a click.

    Raises:
        ValueError: ``timestamp`` has no time zone.
    """

    request_id: str
    user_id: str
    rental_id: str | None
    """None where it is for the answer as a whole."""
    rating: float | None
    timestamp: datetime

    def __post_init__(self) -> None:
        _aware(self.timestamp)


def _aware(timestamp: datetime) -> None:
    if timestamp.tzinfo is None:
        raise ValueError("timestamp has no time zone; use datetime.now(UTC)")


def as_row(entry: Prediction | Feedback) -> dict[str, Any]:
    """Return the entry as its schema stores it; features become JSON text, null where not finite."""
    row = dict(vars(entry))
    if "features" in row:
        row["features"] = json.dumps({name: as_stored(value) for name, value in row["features"].items()})
    return row


def as_stored(value: Any) -> str | int | float | bool | None:
    """Return a feature's value as the log stores it: null where not finite, text where JSON has no type."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
