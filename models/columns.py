"""Which columns of a frame are inputs of the recommender."""

from dataclasses import dataclass

import pandas as pd

TARGETS = ("rating", "event_timestamp")
"""Columns of an event which are not inputs."""


class ColumnError(ValueError):
    """A frame lacks columns; the message lists all of them."""


@dataclass(frozen=True)
class Context:
    """A text of a request or its user by which a rental's choices may be counted: a purpose, an age class."""

    name: str
    """Column of the events and input of the model."""

    counts: str = ""
    """The rental's feature that counts how often it was chosen for each text (JSON); empty: there is none."""

    step: float = 0.0
    """Texts that are numbers are put into classes of this width, such as sizes of 4; 0 leaves them alone."""


PURPOSE = Context("purpose")
"""The context that every request may give."""


@dataclass(frozen=True)
class Columns:
    """Names of the features, given by the caller; ids are inputs too, and always have the same names."""

    user_numeric: tuple[str, ...]
    user_categorical: tuple[str, ...]
    rental_numeric: tuple[str, ...]
    rental_categorical: tuple[str, ...]
    context: tuple[Context, ...] = (PURPOSE,)
    recent_rentals: str = ""
    """The user's feature that lists the latest rentals, the latest first (a JSON array); empty: none."""

    def __post_init__(self) -> None:
        """Raise ColumnError where a side has no numeric feature or a name stands twice."""
        if not self.user_numeric or not self.rental_numeric:
            raise ColumnError(
                "each side needs a numeric feature; give at least one for users and one for rentals"
            )
        names = [*self.user, *self.rental]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ColumnError(f"{double} stand twice among the columns; name each feature once")

    @property
    def user_strings(self) -> tuple[str, ...]:
        """Text inputs of the user's side with one value each; the id comes first."""
        return ("user_id", *(context.name for context in self.context), *self.user_categorical)

    @property
    def rental_strings(self) -> tuple[str, ...]:
        """Text inputs of the rental's side; the id comes first."""
        return ("rental_id", *self.rental_categorical)

    @property
    def lifted(self) -> tuple[Context, ...]:
        """The contexts of which a rental's earlier choices are counted."""
        return tuple(context for context in self.context if context.counts)

    @property
    def user(self) -> tuple[str, ...]:
        """All inputs of the user's side."""
        recent = (self.recent_rentals,) if self.recent_rentals else ()
        return (*self.user_strings, *recent, *self.user_numeric)

    @property
    def rental(self) -> tuple[str, ...]:
        """All inputs of the rental's side."""
        return (*self.rental_strings, *(context.counts for context in self.lifted), *self.rental_numeric)

    def check_events(self, frame: pd.DataFrame) -> None:
        """Raise ColumnError unless ``frame`` has all that an event needs."""
        self._check(frame, "events", (*self.user, *TARGETS, *self.rental))

    def check_catalogue(self, frame: pd.DataFrame) -> None:
        """Raise ColumnError unless ``frame`` has all that a catalogue needs."""
        self._check(frame, "catalogue", ("snapshot_at", *self.rental))

    @staticmethod
    def _check(frame: pd.DataFrame, what: str, names: tuple[str, ...]) -> None:
        missing = [name for name in names if name not in frame]
        if missing:
            raise ColumnError(f"the {what} frame lacks {missing}; join these features before training")
        if frame.empty:
            raise ColumnError(f"the {what} frame has no rows; widen the period that is read")
