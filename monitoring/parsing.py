"""Values as they arrive, read as the kinds that the contracts promise."""

import re
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from monitoring.contracts import Kind

_TIME_WITH_ZONE = re.compile(r"[T ]\d{2}.*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)\s*$")

_LARGEST_WHOLE_NUMBER = 2**63
"""Past it a whole number of JSON fits no number of a table."""


def parse(values: pd.Series, kind: Kind) -> tuple[pd.Series, pd.Series]:
    """Read a column as ``kind``.

    Returns:
        The values as text, float64, microsecond UTC timestamps, flags or lists, null where they are missing
        or unreadable (a list: where a part of it is);
        and a boolean column that marks the unreadable ones. A time without a zone is unreadable: to take it
        as UTC would be a guess, hours off and sometimes a day.
    """
    if kind == "number":
        parsed = _numbers(values)
    elif kind == "timestamp":
        parsed = _timestamps(values)
    elif kind == "flag":
        parsed = values.map(lambda value: bool(value) if isinstance(value, bool | np.bool_) else None)
    elif kind in ("identifiers", "numbers"):
        parsed = values.map(_texts if kind == "identifiers" else _finite_numbers)
    else:
        parsed = _text(values)
    return parsed, values.notna() & parsed.isna()


def _numbers(values: pd.Series) -> pd.Series:
    if values.dtype == object:
        values = values.mask(values.map(_is_no_number).astype(bool))
    elif pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        values = values.astype(object).mask(values.map(lambda value: not isinstance(value, str)).astype(bool))
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    return numbers.replace([np.inf, -np.inf], np.nan)


def _is_no_number(value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        # They would pass as 1 and 0, the ends of a rating scale.
        return True
    return isinstance(value, int) and abs(value) > _LARGEST_WHOLE_NUMBER


def _timestamps(values: pd.Series) -> pd.Series:
    if not isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.astype(object)
        values = values.where(values.map(_has_zone).astype(bool), None)
    times = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    return times.dt.floor("us").astype("datetime64[us, UTC]")


def _has_zone(value: Any) -> bool:
    # A bare number has no unit either: seconds and nanoseconds would both land on a plausible-looking day.
    if isinstance(value, str):
        return bool(_TIME_WITH_ZONE.search(value))
    return isinstance(value, datetime) and value.tzinfo is not None


def _texts(value: Any) -> list[str] | None:
    parts = _parts(value)
    return parts if parts is not None and all(isinstance(part, str) for part in parts) else None


def _finite_numbers(value: Any) -> list[float] | None:
    parts = _parts(value)
    if parts is None or not all(isinstance(part, int | float | np.number) for part in parts):
        return None
    return [float(part) for part in parts] if all(np.isfinite(parts)) else None


def _parts(value: Any) -> list[Any] | None:
    return list(value) if isinstance(value, list | tuple | np.ndarray) else None


def _text(values: pd.Series) -> pd.Series:
    try:
        return (
            pa.Array.from_pandas(values, type=pa.string()).to_pandas().set_axis(values.index).astype(object)
        )
    except (pa.ArrowException, UnicodeEncodeError):
        return values.map(_as_text).astype(object)


def _as_text(value: Any) -> str | None:
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: no file format of the lake can hold it
        return None
    return value
