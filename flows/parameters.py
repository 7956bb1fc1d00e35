"""How flows read their parameters."""

import pandas as pd


class ParameterError(ValueError):
    """A flow's parameter makes no sense; the message names the remedy."""


def day(text: str, name: str) -> pd.Timestamp | None:
    """Read ``YYYY-MM-DD`` (UTC); None for an empty text.

    Raises:
        ParameterError: it is not such a date.
    """
    if not text:
        return None
    try:
        return pd.Timestamp(pd.to_datetime(text, format="%Y-%m-%d"), tz="UTC")
    except ValueError as error:
        raise ParameterError(f"--{name} is {text!r}: give a date as YYYY-MM-DD") from error
