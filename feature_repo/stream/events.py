"""What an event is: the one definition of its form, for the stream and for the HTTP API."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import pandas as pd
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from feature_repo.schema import RATING_SCALE, SIZE_SCALE

LONGEST_ID = 128
"""Characters of an id or a purpose; a longer one is a mistake of the sender."""

LONGEST_LINE = 64_000
"""Bytes of an event, which has some hundred: a longer line is refused before it is parsed."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far the clock of a sender may be ahead of ours: more is a wrong clock or a wrong field."""

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")

COLUMNS = ("rating_id", "user_id", "rental_id", "rating", "purpose", "size", "event_timestamp")


def _readable(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("holds control characters")
    return text


def _date_and_time(value: object) -> object:
    # Pydantic also takes numbers, of seconds or milliseconds by their size.
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE_AND_TIME.match(value)):
        return value
    raise ValueError("is not an ISO 8601 date and time with zone, such as 2026-01-31T12:00:00Z")


def _after_1970(value: datetime) -> datetime:
    if value < EPOCH:
        raise ValueError("is before 1970")
    return value


Label = Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST_ID), AfterValidator(_readable)]


class RatingEvent(BaseModel):
    """A user rated a rental."""

    # A misspelt purpose would otherwise be lost.
    model_config = ConfigDict(extra="forbid")

    rating_id: Label
    user_id: Label
    rental_id: Label
    rating: float = Field(strict=True, ge=RATING_SCALE[0], le=RATING_SCALE[1], allow_inf_nan=False)
    purpose: Label | None = None
    size: float | None = Field(None, strict=True, ge=SIZE_SCALE[0], le=SIZE_SCALE[1], allow_inf_nan=False)
    event_timestamp: Annotated[AwareDatetime, BeforeValidator(_date_and_time), AfterValidator(_after_1970)]


@dataclass(frozen=True)
class Line:
    """A line of the stream."""

    text: bytes
    source: str
    """Name of its file, or its place in Kafka."""


@dataclass(frozen=True)
class Refused:
    """A line that is no event."""

    line: Line
    reason: str


@dataclass
class Parsed:
    """Lines of the stream, sorted into good and bad."""

    events: pd.DataFrame
    """``COLUMNS``, each ``rating_id`` once; ``event_timestamp`` in microseconds since 1970."""

    repeated: int
    """Events whose ``rating_id`` another one in these lines has."""

    refused: list[Refused] = field(default_factory=list)


def parse(lines: Iterable[Line], arrived_at: int) -> Parsed:
    """Validate lines that arrived at ``arrived_at`` (microseconds since 1970). Blank lines say nothing.

    An event that happened a little after it arrived tells of two clocks: it counts as of its arrival, because
    a feature must not know of a rental in its future. One beyond ``CLOCK_TOLERANCE`` is refused.
    Of events with the same id the earliest counts, whatever the order of the lines.
    """
    rows, refused = [], []
    latest = arrived_at + CLOCK_TOLERANCE // MICROSECOND
    for line in lines:
        if not line.text.strip():
            continue
        if len(line.text) > LONGEST_LINE:
            refused.append(Refused(line, f"{len(line.text):,} bytes, an event has at most {LONGEST_LINE:,}"))
            continue
        try:
            event = RatingEvent.model_validate_json(line.text)
        except ValidationError as error:
            refused.append(Refused(line, "; ".join(_sentence(fault) for fault in error.errors())))
            continue
        happened = (event.event_timestamp - EPOCH) // MICROSECOND
        if happened > latest:
            refused.append(Refused(line, f"event_timestamp: is more than {CLOCK_TOLERANCE} in the future"))
            continue
        rows.append(
            (
                event.rating_id,
                event.user_id,
                event.rental_id,
                event.rating,
                event.purpose,
                event.size,
                min(happened, arrived_at),
                line.text,
            )
        )
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "text"]).sort_values(["event_timestamp", "text"])
    events = frame.drop_duplicates("rating_id")[list(COLUMNS)].reset_index(drop=True)
    return Parsed(
        events.astype({"rating": float, "size": float, "event_timestamp": "int64"}),
        len(frame) - len(events),
        refused,
    )


def _sentence(fault: object) -> str:
    place = ".".join(str(part) for part in fault["loc"])  # type: ignore[index]
    message = fault["msg"].removeprefix("Value error, ")  # type: ignore[index]
    return f"{place}: {message}" if place else message
