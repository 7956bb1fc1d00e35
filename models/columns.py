"""Which columns of a frame are inputs of the recommender."""

from dataclasses import dataclass

import pandas as pd

TARGETS = ("rating", "event_timestamp")
"""Columns of an event which are not inputs."""


class ColumnError(ValueError):
    """A frame lacks columns; the message lists all of them."""


@dataclass(frozen=True)
class Columns:
    """Names of the features, given by the caller.

    Ids and the purpose of the rental are inputs too, and always have the same names.
    """

    user_numeric: tuple[str, ...]
    user_categorical: tuple[str, ...]
    rental_numeric: tuple[str, ...]
    rental_categorical: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ColumnError where a side has no numeric feature or a name stands twice."""
        if not self.user_numeric or not self.rental_numeric:
            raise ColumnError(
                "each side needs a numeric feature; give at least one for users and one for rentals"
            )
        names = [*self.user_strings, *self.user_numeric, *self._rental]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ColumnError(f"{double} stand twice among the columns; name each feature once")

    @property
    def user_strings(self) -> tuple[str, ...]:
        """Text inputs of the user's side; the id comes first."""
        return ("user_id", "purpose", *self.user_categorical)

    @property
    def rental_strings(self) -> tuple[str, ...]:
        """Text inputs of the rental's side; the id comes first."""
        return ("rental_id", *self.rental_categorical)

    def check_events(self, frame: pd.DataFrame) -> None:
        """Raise ColumnError unless ``frame`` has all that an event needs."""
        self._check(frame, "events", (*self.user_strings, *self.user_numeric, *TARGETS, *self._rental))

    def check_catalogue(self, frame: pd.DataFrame) -> None:
        """Raise ColumnError unless ``frame`` has all that a catalogue needs."""
        self._check(frame, "catalogue", ("snapshot_at", *self._rental))

    @property
    def _rental(self) -> tuple[str, ...]:
        return (*self.rental_strings, *self.rental_numeric)

    @staticmethod
    def _check(frame: pd.DataFrame, what: str, names: tuple[str, ...]) -> None:
        missing = [name for name in names if name not in frame]
        if missing:
            raise ColumnError(f"the {what} frame lacks {missing}; join these features before training")
        if frame.empty:
            raise ColumnError(f"the {what} frame has no rows; widen the period that is read")
