"""The lake as this component sees it: which answers were given, and what users said to them.

Every file is written once under a name of its own, in a folder of its day (``monitoring.log_files``).
"""

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PREDICTIONS, FEEDBACK = "predictions", "feedback"

COLUMNS = {
    PREDICTIONS: ["request_id", "user_id", "predictor", "ok"],
    FEEDBACK: ["request_id", "rental_id", "rating"],
}
"""What is read of each table."""

SCHEMA = pa.schema(
    {
        "request_id": pa.string(),
        "user_id": pa.string(),
        "rental_id": pa.string(),
        "rating": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
)
"""The columns of feedback, those of ``monitoring.log_entries``."""

LOWEST_RATING, HIGHEST_RATING = 1.0, 5.0
"""The scale of ratings, that of ``feature_repo.schema``."""

DIGITS = 4
"""Decimals of a rating that was a reward: Seldon's messages hold rewards in single precision."""


def reward_of(rating: float | None) -> float:
    """Return the reward, from 0 to 1, of a rating on its scale; a click, which has no rating, is worth 1."""
    return 1.0 if rating is None else (rating - LOWEST_RATING) / (HIGHEST_RATING - LOWEST_RATING)


def rating_of(reward: float) -> float:
    """Return the rating whose reward this is."""
    return round(LOWEST_RATING + reward * (HIGHEST_RATING - LOWEST_RATING), DIGITS)


def days(lake: Path, table: str) -> list[Path]:
    """Return the folders of a table, oldest first."""
    return sorted((lake / table).glob("????-??-??"))


def files(day: Path) -> Iterator[Path]:
    """Give the complete files of a day."""
    # A file that is still being written has a name with a dot in front.
    return day.glob("[0-9]*.parquet")


def read(path: Path, table: str) -> list[dict[str, Any]]:
    """Return the rows of a file, the columns of its table that are needed here.

    Raises:
        pyarrow.ArrowException, OSError: the file is damaged or gone.
    """
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read(COLUMNS[table]).to_pylist()
    return rows


def append_feedback(lake: Path, request_id: str, user_id: str, rental_id: str | None, rating: float) -> None:
    """Write feedback; when this returns, it is there for every reader.

    Raises:
        OSError: it cannot be written.
    """
    now = datetime.now(UTC)
    row = {
        "request_id": request_id,
        "user_id": user_id,
        "rental_id": rental_id,
        "rating": rating,
        "timestamp": now,
    }
    day = lake / FEEDBACK / f"{now:%Y-%m-%d}"
    day.mkdir(parents=True, exist_ok=True)
    name = f"{now:%Y%m%dT%H%M%S.%f}-{os.getpid()}-{uuid.uuid4().hex[:8]}.parquet"
    temporary = day / f".{name}"
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), temporary)
    temporary.replace(day / name)
