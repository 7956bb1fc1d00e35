"""Frames and entries that the tests of monitoring start from."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from monitoring.prediction_log import Prediction


@pytest.fixture
def ratings() -> pd.DataFrame:
    """Ten good ratings."""
    return pd.DataFrame(
        {
            "rating_id": [f"g{i}" for i in range(10)],
            "user_id": [f"u{i % 3}" for i in range(10)],
            "rental_id": [f"r{i % 4}" for i in range(10)],
            "rating": [1.0, 2.0, 3.0, 4.0, 5.0] * 2,
            "source_rating": [2.0, 4.0, 6.0, 8.0, 10.0] * 2,
            "purpose": ["party", None] * 5,
            "size": [0.0, 4.0, 14.5, 20.0, None] * 2,
            "event_timestamp": pd.date_range("2020-01-01", periods=10, tz="UTC"),
            "arrived_at": pd.date_range("2020-01-01", periods=10, tz="UTC") + pd.Timedelta(minutes=1),
        }
    )


@pytest.fixture
def users() -> pd.DataFrame:
    """Four good users."""
    return pd.DataFrame(
        {
            "user_id": ["a", "b", "c", "d"],
            "joined_at": pd.date_range("2020-01-01", periods=4, tz="UTC"),
            "age": [30.0, None, 45.0, 60.0],
            "height_cm": [170.0, 165.0, None, 180.0],
            "weight_kg": [70.0, 60.0, 80.0, None],
            "segment": ["solo", "family", None, "solo"],
        }
    )


def prediction(request_id: str, timestamp: datetime | None = None, **changes: object) -> Prediction:
    """A prediction of three rentals by predictor v3."""
    fields: dict = {
        "request_id": request_id,
        "user_id": "u1",
        "model_name": "recommender",
        "model_version": "3",
        "predictor": "v3",
        "ok": True,
        "features": {"user_age": 31.0, "user_segment": "solo"},
        "rental_ids": ["r1", "r2", "r3"],
        "scores": [0.9, 0.5, 0.1],
        "predicted_ratings": [4.5, 4.0, 3.5],
        "latency_ms": 2.5,
        "timestamp": timestamp or datetime.now(UTC),
    }
    return Prediction(**(fields | changes))


@pytest.fixture(name="prediction")
def prediction_factory():
    return prediction
