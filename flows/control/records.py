"""Frames as JSON takes them."""

from typing import Any, cast

import pandas as pd


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row as its values by column; what is missing is None, because JSON knows no missing number."""
    plain = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return cast(list[dict[str, Any]], plain)
