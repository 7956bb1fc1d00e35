"""How flows read their parameters."""

from datetime import UTC, datetime
from itertools import pairwise

import pandas as pd

CHAMPION, BASELINES = "champion", "baselines"
"""What a trained model can be compared with."""

BY_HAND = "by hand"
"""Why a flow runs that nothing but a person has started."""

SCRATCH = "scratch"
"""What a training can begin from, if not from the champion."""


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


def moment(text: str, name: str) -> pd.Timestamp | None:
    """Read a time such as ``2024-05-01T12:30``, UTC where it names no zone; None for an empty text.

    Raises:
        ParameterError: it is not such a time.
    """
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ParameterError(f"--{name} is {text!r}: give a time as YYYY-MM-DDTHH:MM") from error
    return pd.Timestamp(time if time.tzinfo else time.replace(tzinfo=UTC)).tz_convert("UTC")


def shares(text: str) -> tuple[int, ...]:
    """Read rising shares of traffic in percent, such as ``1,10,100``; 0 stands for a shadow.

    Raises:
        ParameterError: they are not whole numbers from 0 to 100 which rise and end at 100.
    """
    parts = text.replace(" ", "").split(",")
    steps = tuple(int(part) for part in parts if part.isdigit())
    rises = all(first < second for first, second in pairwise(steps))
    if not steps or len(steps) != len(parts) or not rises or steps[-1] != 100:
        raise ParameterError(f"--steps is {text!r}: give whole percents that rise to 100, such as 10,100")
    return steps


def one_of(text: str, name: str, *choices: str) -> str:
    """Return ``text``.

    Raises:
        ParameterError: it is none of ``choices``.
    """
    if text not in choices:
        raise ParameterError(f"--{name} is {text!r}: give {' or '.join(choices)}")
    return text
