"""What each table of the lake promises, column by column: the source of its expectation suite.

A value that breaks its promise in a required column costs the row; in an optional column it costs only the
value, because a rating by a user who gives an age of 116 is still a rating.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["identifier", "text", "document", "flag", "number", "timestamp", "identifiers", "numbers"]
"""``document`` is text of any length; the last two are lists."""

LONGEST_TEXT = 128
"""Characters in an identifier or a label; a longer one is a document in the wrong column."""

RATING_SCALE = (1.0, 5.0)
"""Every source's ratings are mapped onto this scale."""

PLAUSIBLE_AGE = (14.0, 100.0)
"""Years. People who rent for themselves; default birth years such as 1900 show up as 116."""

PLAUSIBLE_HEIGHT_CM = (120.0, 230.0)
"""Centimetres. Adults beyond these are rarer than typing errors."""

PLAUSIBLE_WEIGHT_KG = (30.0, 250.0)
"""Kilograms. Adults beyond these are rarer than typing errors."""

PLAUSIBLE_PRICE = (0.0, 1e6)
"""Currency units per rental; free is possible, less than nothing is not."""

PLAUSIBLE_CAPACITY = (0.0, 1e4)
"""People or size units; clothing sizes begin at 0."""

PLAUSIBLE_SIZE = (0.0, 1e4)
"""The size that was chosen, in the source's codes."""

PLAUSIBLE_LATENCY_MS = (0.0, 600_000.0)
"""Milliseconds. Nobody waits ten minutes for an answer; below nothing a clock went back."""

SOURCE_TEXT = "source_text"
"""A further column that any table may have: the row as the source had it."""


@dataclass(frozen=True)
class Column:
    """The promise of one column."""

    name: str
    kind: Kind
    required: bool = False
    unique: bool = False
    costs_row: bool = False
    """A wrong value costs the row although a missing one does not: without it the row would say something
    else."""
    limits: tuple[float, float] | None = None
    """Smallest and largest accepted number, both included; of a list, that of its numbers."""
    as_long_as: str = ""
    """A list column of the same row that must be as long."""
    not_before: str = ""
    """A timestamp column of the same row that must not be later."""

    @property
    def fatal(self) -> bool:
        """Whether a value that breaks the promise costs the row, and not only itself."""
        return self.required or self.costs_row


def _required(name: str, kind: Kind) -> Column:
    return Column(name, kind, required=True)


def _key(name: str) -> Column:
    return Column(name, "identifier", required=True, unique=True)


TABLES: dict[str, tuple[Column, ...]] = {
    "users": (
        _key("user_id"),
        _required("joined_at", "timestamp"),
        Column("age", "number", limits=PLAUSIBLE_AGE),
        Column("height_cm", "number", limits=PLAUSIBLE_HEIGHT_CM),
        Column("weight_kg", "number", limits=PLAUSIBLE_WEIGHT_KG),
        Column("segment", "text"),
    ),
    "rentals": (
        _key("rental_id"),
        Column("category", "text"),
        Column("area", "text"),
        Column("price", "number", limits=PLAUSIBLE_PRICE),
        Column("capacity", "number", limits=PLAUSIBLE_CAPACITY),
        _required("listed_at", "timestamp"),
    ),
    "ratings": (
        _key("rating_id"),
        _required("user_id", "identifier"),
        _required("rental_id", "identifier"),
        Column("rating", "number", required=True, limits=RATING_SCALE),
        Column("source_rating", "number"),
        Column("purpose", "text"),
        Column("size", "number", limits=PLAUSIBLE_SIZE),
        _required("event_timestamp", "timestamp"),
        Column("arrived_at", "timestamp", required=True, not_before="event_timestamp"),
    ),
    "predictions": (
        _required("request_id", "identifier"),
        _required("user_id", "identifier"),
        _required("model_name", "text"),
        _required("model_version", "text"),
        _required("predictor", "text"),
        _required("ok", "flag"),
        _required("features", "document"),
        _required("rental_ids", "identifiers"),
        Column("scores", "numbers", required=True, as_long_as="rental_ids"),
        Column("predicted_ratings", "numbers", required=True, limits=RATING_SCALE, as_long_as="rental_ids"),
        Column("latency_ms", "number", required=True, limits=PLAUSIBLE_LATENCY_MS),
        _required("timestamp", "timestamp"),
        Column("features_failure", "document"),
    ),
    "feedback": (
        _required("request_id", "identifier"),
        _required("user_id", "identifier"),
        Column("rental_id", "identifier", costs_row=True),
        # Without a rating feedback is a click, so a wrong one must not become a missing one.
        Column("rating", "number", costs_row=True, limits=RATING_SCALE),
        _required("timestamp", "timestamp"),
    ),
}
