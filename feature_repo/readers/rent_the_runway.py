"""Rent the Runway clothing-fit data (Misra, Wan, McAuley, RecSys 2018): JSON lines, plain or gzipped."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from feature_repo.readers import Source, SourceError

SOURCE_POINTS_PER_POINT = 2.0
"""The source rates 2..10; the lake 1..5."""

CENTIMETRES_PER_INCH = 2.54
KILOGRAMS_PER_POUND = 0.45359237
FIELDS = (
    "user_id",
    "item_id",
    "rating",
    "rented for",
    "review_date",
    "category",
    "age",
    "body type",
    "height",
    "weight",
)
"""Fields that the lake takes; every one may be missing in a line."""


def read(path: Path) -> Source:
    """Read the file into the lake's contracts; a line that is not a JSON object goes to ``Source.unparsed``.

    Raises:
        SourceError: the file is empty, truncated or not what its name says.
    """
    records, unparsed = [], []
    for number, raw in enumerate(_lines(path), start=1):
        line = raw.decode(errors="backslashreplace")
        try:
            record = json.loads(raw.decode())
        # Besides wrong JSON: bytes that are no UTF-8, a number of 5,000 digits, brackets nested 5,000 deep.
        except (ValueError, RecursionError) as error:
            unparsed.append({"line": line, "reason": f"line {number} is not JSON: {error}"})
            continue
        if not isinstance(record, dict):
            unparsed.append({"line": line, "reason": f"line {number} is not a JSON object"})
            continue
        records.append([_scalar(record.get(name)) for name in FIELDS] + [line])
    if not records and not unparsed:
        raise SourceError(f"{path} holds no line: download it again")
    frame = pd.DataFrame(records, columns=[*FIELDS, "source_text"])
    frame["event_timestamp"] = pd.to_datetime(
        frame["review_date"], format="%B %d, %Y", errors="coerce", utc=True
    ).astype("datetime64[us, UTC]")
    frame = frame.rename(columns={"item_id": "rental_id", "rented for": "purpose", "body type": "segment"})
    for column in ("user_id", "rental_id", "purpose", "segment", "category"):
        frame[column] = frame[column].astype("string").astype(object).where(frame[column].notna(), None)
    by_time = frame.sort_values("event_timestamp", kind="stable")
    return Source(
        users=_users(by_time),
        rentals=_rentals(by_time),
        ratings=_ratings(frame),
        unparsed=pd.DataFrame(unparsed, columns=["line", "reason"]),
    )


def _lines(path: Path) -> Iterator[bytes]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            for line in file:
                if line.strip():
                    yield line.rstrip(b"\r\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{path} is truncated or not gzip ({error}): download it again") from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}): check the path and its permissions"
        ) from error


def _scalar(value: object) -> object:
    """Nested JSON where a value is expected becomes text, so that validation names the row, not a crash."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _users(by_time: pd.DataFrame) -> pd.DataFrame:
    """One row a user, with the profile of the first review: later answers would leak into earlier events."""
    first = by_time.drop_duplicates("user_id")
    height = first["height"].astype("string").str.extract(r"^(\d+)' *(\d+)\"$").astype(float)
    weight = first["weight"].astype("string").str.extract(r"^(\d+(?:\.\d+)?)lbs$")[0].astype(float)
    return pd.DataFrame(
        {
            "user_id": first["user_id"],
            "joined_at": first["event_timestamp"],
            "age": pd.to_numeric(first["age"], errors="coerce").astype(float),
            "height_cm": ((height[0] * 12 + height[1]) * CENTIMETRES_PER_INCH).round(1),
            "weight_kg": (weight * KILOGRAMS_PER_POUND).round(1),
            "segment": first["segment"],
        }
    )


def _rentals(by_time: pd.DataFrame) -> pd.DataFrame:
    """One row a rental, listed when it was first rented; the source has no price, area or capacity."""
    first = by_time.drop_duplicates("rental_id")
    return pd.DataFrame(
        {
            "rental_id": first["rental_id"],
            "category": first["category"],
            "area": None,
            "price": float("nan"),
            "capacity": float("nan"),
            "listed_at": first["event_timestamp"],
        }
    )


def _ratings(frame: pd.DataFrame) -> pd.DataFrame:
    source_rating = pd.to_numeric(frame["rating"], errors="coerce").astype(float)
    day = frame["review_date"].astype("string").fillna("")
    name = frame["user_id"].fillna("") + ":" + frame["rental_id"].fillna("") + ":" + day
    # The source has no id, and a person may rate the same rental twice on a day: count within the day.
    return pd.DataFrame(
        {
            "rating_id": name + ":" + name.groupby(name).cumcount().astype(str),
            "user_id": frame["user_id"],
            "rental_id": frame["rental_id"],
            "rating": source_rating / SOURCE_POINTS_PER_POINT,
            "source_rating": source_rating,
            "purpose": frame["purpose"],
            "event_timestamp": frame["event_timestamp"],
            # The source does not tell when a review arrived.
            "arrived_at": frame["event_timestamp"],
            "source_text": frame["source_text"],
        }
    )
