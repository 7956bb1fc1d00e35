"""Text to codes and frames to arrays; what the network needs to know about the data."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from models.columns import Columns

UNKNOWN = 0
"""Code of a missing or unseen value in every vocabulary."""


class Rows(NamedTuple):
    """Inputs of one side: int64 codes [rows, text columns], raw float32 numbers [rows, numeric columns]."""

    codes: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class Vocabulary:
    """The known values of a text column, in order; the code of a value is its position plus one."""

    values: tuple[str, ...]

    @classmethod
    def fit(cls, values: pd.Series, minimum: int = 1) -> "Vocabulary":
        """Learn the values which occur at least ``minimum`` times; empty text means missing."""
        counts = values.dropna().astype(str).value_counts()
        return cls(tuple(sorted(str(value) for value, n in counts.items() if n >= minimum and value)))

    def __len__(self) -> int:
        """Number of codes, the unknown one included."""
        return len(self.values) + 1

    def encode(self, values: pd.Series) -> np.ndarray:
        """Return int64 codes, ``UNKNOWN`` where a value is missing or was not learnt."""
        codes = {value: code for code, value in enumerate(self.values, start=1)}
        # The empty text is in no vocabulary.
        texts = values.astype(object).where(values.notna(), "").astype(str)
        return texts.map(lambda text: codes.get(text, UNKNOWN)).to_numpy(np.int64)


@dataclass(frozen=True)
class SideEncoding:
    """How one side (user or rental) of a frame becomes arrays."""

    strings: tuple[str, ...]
    numeric: tuple[str, ...]
    vocabularies: tuple[Vocabulary, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each text column."""
        return tuple(len(vocabulary) for vocabulary in self.vocabularies)

    def encode(self, frame: pd.DataFrame) -> Rows:
        """Turn the side's columns of ``frame`` into codes and raw numbers (NaN = missing)."""
        pairs = zip(self.strings, self.vocabularies, strict=True)
        codes = np.stack([vocabulary.encode(frame[name]) for name, vocabulary in pairs], axis=1)
        return Rows(codes, numbers(frame, self.numeric))


@dataclass(frozen=True)
class Encoding:
    """Vocabularies of both sides, learnt from training events only."""

    columns: Columns
    user: SideEncoding
    rental: SideEncoding

    @classmethod
    def fit(cls, events: pd.DataFrame, columns: Columns, minimum_user_events: int = 1) -> "Encoding":
        """Learn vocabularies; users with fewer than ``minimum_user_events`` events stay unknown."""
        user = [
            Vocabulary.fit(events[name], minimum_user_events if name == "user_id" else 1)
            for name in columns.user_strings
        ]
        rental = [Vocabulary.fit(events[name]) for name in columns.rental_strings]
        return cls(
            columns,
            SideEncoding(columns.user_strings, columns.user_numeric, tuple(user)),
            SideEncoding(columns.rental_strings, columns.rental_numeric, tuple(rental)),
        )


def numbers(frame: pd.DataFrame, names: Iterable[str]) -> np.ndarray:
    """Return the columns as float32 [rows, names]; None and NaN become NaN.

    Raises:
        ValueError: a column holds text that is not a number.
    """
    names = list(names)
    if not names:
        return np.empty((len(frame), 0), np.float32)
    return frame[names].astype("float64").to_numpy(np.float32)
