"""Contracts of the lake's tables, checked at every boundary."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

TIMESTAMP = pa.timestamp("us", tz="UTC")
RATING_SCALE = (1.0, 5.0)
"""Every source's ratings are mapped onto this scale."""
SIZE_SCALE = (0.0, 1e4)
"""Sizes are in the source's own codes; beyond these it is a mistake and no size."""

TABLES: dict[str, pa.Schema] = {
    "users": pa.schema(
        [
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("joined_at", TIMESTAMP, nullable=False),
            pa.field("age", pa.float64()),
            pa.field("height_cm", pa.float64()),
            pa.field("weight_kg", pa.float64()),
            pa.field("segment", pa.string()),
        ]
    ),
    "rentals": pa.schema(
        [
            pa.field("rental_id", pa.string(), nullable=False),
            pa.field("category", pa.string()),
            pa.field("area", pa.string()),
            pa.field("price", pa.float64()),
            pa.field("capacity", pa.float64()),
            pa.field("listed_at", TIMESTAMP, nullable=False),
        ]
    ),
    "ratings": pa.schema(
        [
            pa.field("rating_id", pa.string(), nullable=False),
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("rental_id", pa.string(), nullable=False),
            pa.field("rating", pa.float64(), nullable=False),
            pa.field("source_rating", pa.float64()),
            pa.field("purpose", pa.string()),
            pa.field("size", pa.float64()),
            pa.field("event_timestamp", TIMESTAMP, nullable=False),
            pa.field("arrived_at", TIMESTAMP, nullable=False),
        ]
    ),
}
SOURCE_TEXT = "source_text"
"""A further column that any table may have: the row as the source had it."""

KEYS = {"users": "user_id", "rentals": "rental_id", "ratings": "rating_id"}
TIMES = {
    "users": ("joined_at",),
    "rentals": ("listed_at",),
    "ratings": ("event_timestamp", "arrived_at"),
}
"""What is said as of a time may use a row only if all of these are before that time.

A rating happens at ``event_timestamp`` and becomes known at ``arrived_at``: later, where a form is sent late
or a system was away. A source that does not tell its arrival gives the time of the event.
"""


class SchemaError(ValueError):
    """A frame does not have the columns or types of its table; the message lists every fault."""


def conform(frame: pd.DataFrame, table: str) -> pa.Table:
    """Return ``frame`` as an Arrow table of exactly the contract's columns and types.

    A column that may hold nulls may be absent, and is null then, unless the frame has columns that the table
    does not know: the absent one may be among them, misnamed.

    Raises:
        SchemaError: columns are missing, hold values of another type, times without a time zone or infinite
            numbers, or hold nulls where none may be.
    """
    columns, faults = [], []
    unknown = sorted(map(str, set(frame.columns) - {*TABLES[table].names, SOURCE_TEXT}))
    for field in TABLES[table]:
        if field.name not in frame:
            columns.append(pa.nulls(len(frame), field.type))
            if unknown or not field.nullable:
                among = f" and {', '.join(map(repr, unknown))} not known" if unknown else ""
                faults.append(f"column {field.name!r} is missing{among}")
            continue
        if field.type == TIMESTAMP and (bare := _without_zone(frame[field.name])):
            faults.append(
                f"column {field.name!r} holds {len(bare)} values that are no times with a time zone, such "
                f"as {bare[0]!r}: say of which zone they are by .dt.tz_localize(...)"
            )
            continue
        try:
            column = pa.Array.from_pandas(frame[field.name], type=field.type)
        except (pa.ArrowException, UnicodeEncodeError) as error:
            faults.append(f"column {field.name!r} is not {field.type}: {error}")
            continue
        if column.null_count and not field.nullable:
            faults.append(f"column {field.name!r} holds {column.null_count} nulls")
        if field.type == pa.float64() and (infinite := pc.sum(pc.is_inf(column)).as_py()):
            faults.append(f"column {field.name!r} holds {infinite} infinite numbers")
        columns.append(column)
    if faults:
        raise SchemaError(f"table {table!r} breaks its contract: " + "; ".join(faults))
    return pa.Table.from_arrays(columns, schema=TABLES[table])


def _without_zone(values: pd.Series) -> list[Any]:
    """The values that are not a moment; Arrow would take a bare number or a local time as UTC."""
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return []
    return [value for value in values.astype(object).dropna() if getattr(value, "tzinfo", None) is None]
