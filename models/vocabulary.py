"""The values of a text column that a model knows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

UNKNOWN = 0
"""Code of a missing or unseen value in every vocabulary."""


@dataclass(frozen=True)
class Vocabulary:
    """The known values of a text column, in order, and the code of each, from one on."""

    values: tuple[str, ...]
    codes: tuple[int, ...]

    @classmethod
    def fit(cls, values: pd.Series, minimum: int = 1, step: float = 0.0) -> "Vocabulary":
        """Learn the values which occur at least ``minimum`` times; empty text means missing.

        Where ``step`` is not 0, numbers of the same class of that width share a code.
        """
        return NOTHING.extended(values, minimum, step)

    def extended(self, values: pd.Series, minimum: int = 1, step: float = 0.0) -> "Vocabulary":
        """Return this vocabulary with the values that ``fit`` would learn and it lacks, at its end."""
        counts = values.dropna().astype(str).value_counts()
        found = {str(value) for value, n in counts.items() if n >= minimum and value}
        new = sorted(found - set(self.values))
        codes = {_class(value, step): code for value, code in zip(self.values, self.codes, strict=True)}
        for name in sorted({_class(value, step) for value in new} - set(codes)):
            codes[name] = max(codes.values(), default=UNKNOWN) + 1
        return Vocabulary((*self.values, *new), (*self.codes, *(codes[_class(value, step)] for value in new)))

    def __len__(self) -> int:
        """Number of codes, the unknown one included."""
        return max(self.codes, default=UNKNOWN) + 1

    @property
    def table(self) -> dict[str, int]:
        """The code of each value."""
        return dict(zip(self.values, self.codes, strict=True))

    def encode(self, values: pd.Series) -> np.ndarray:
        """Return int64 codes, ``UNKNOWN`` where a value is missing or was not learnt."""
        codes = self.table
        # The empty text is in no vocabulary.
        texts = values.astype(object).where(values.notna(), "").astype(str)
        return texts.map(lambda text: codes.get(text, UNKNOWN)).to_numpy(np.int64)


NOTHING = Vocabulary((), ())
"""Knows no value."""


def _class(value: str, step: float) -> str:
    if not step:
        return value
    try:
        return str(int(float(value) // step))
    except (ValueError, OverflowError):
        return value
