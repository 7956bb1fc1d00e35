"""Values as they arrive, read as the kinds that the contracts promise."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from monitoring.contracts import Kind


def parse(values: pd.Series, kind: Kind) -> tuple[pd.Series, pd.Series]:
    """Read a column as ``kind``.

    Returns:
        The values as text, float64 or microsecond UTC timestamps, null where they are missing or unreadable;
        and a boolean column that marks the unreadable ones. Times without a zone are taken as UTC.
    """
    if kind == "number":
        parsed = _numbers(values)
    elif kind == "timestamp":
        parsed = _timestamps(values)
    else:
        parsed = _text(values)
    return parsed, values.notna() & parsed.isna()


def _numbers(values: pd.Series) -> pd.Series:
    if values.dtype == object:
        # True and False would pass as 1 and 0, the ends of a rating scale.
        values = values.mask(values.map(lambda value: isinstance(value, bool | np.bool_)).astype(bool))
    elif pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        values = values.astype(object).mask(values.map(lambda value: not isinstance(value, str)).astype(bool))
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    return numbers.replace([np.inf, -np.inf], np.nan)


def _timestamps(values: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values):
        # A bare number has no unit: seconds and nanoseconds would both land on a plausible-looking day.
        values = pd.Series(pd.NaT, index=values.index)
    elif values.dtype == object:
        values = values.mask(values.map(lambda value: isinstance(value, int | float)).astype(bool))
    times = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
    return times.dt.floor("us").astype("datetime64[us, UTC]")


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
