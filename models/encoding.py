"""Text to codes and frames to arrays; what the network needs to know about the data."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from models.columns import Columns
from models.lift import Lift
from models.vocabulary import NOTHING, UNKNOWN, Vocabulary

RECENT_RENTALS = 10
"""The latest rentals of a user that the model looks at; more say little new."""


class UserRows(NamedTuple):
    """Inputs of the user's side, a row each.

    Int64 codes [rows, text columns], raw float32 numbers [rows, numeric columns], and int64 codes of recent
    rentals [rows, ``RECENT_RENTALS``], or [rows, 0] where the columns name none.
    """

    codes: np.ndarray
    numbers: np.ndarray
    recent: np.ndarray


class RentalRows(NamedTuple):
    """Inputs of the rental's side, a row each.

    Int64 codes [rows, text columns], raw float32 numbers [rows, numeric columns], and float32 log lifts
    [rows, codes of all lifted contexts].
    """

    codes: np.ndarray
    numbers: np.ndarray
    lifts: np.ndarray


@dataclass(frozen=True)
class UserEncoding:
    """How a frame becomes the user's inputs."""

    strings: tuple[str, ...]
    numeric: tuple[str, ...]
    vocabularies: tuple[Vocabulary, ...]
    recent_rentals: str
    rental_ids: Vocabulary

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that the side takes."""
        recent = (self.recent_rentals,) if self.recent_rentals else ()
        return (*self.strings, *recent, *self.numeric)

    @property
    def origins(self) -> UserRows:
        """The column that each column of each array of ``encode`` comes from: text [columns]."""
        recent = [self.recent_rentals] * RECENT_RENTALS if self.recent_rentals else []
        return UserRows(*(np.array(names, dtype=str) for names in (self.strings, self.numeric, recent)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each text column."""
        return tuple(len(vocabulary) for vocabulary in self.vocabularies)

    def encode(self, frame: pd.DataFrame) -> UserRows:
        """Turn the user's columns of ``frame`` into codes, raw numbers (NaN = missing) and recent rentals."""
        recent = np.zeros((len(frame), RECENT_RENTALS if self.recent_rentals else 0), np.int64)
        if self.recent_rentals:
            codes = self.rental_ids.table
            for row, text in enumerate(frame[self.recent_rentals]):
                ids = recent_ids(text)
                recent[row, : len(ids)] = [codes.get(rental_id, UNKNOWN) for rental_id in ids]
        return UserRows(_codes(frame, self.strings, self.vocabularies), numbers(frame, self.numeric), recent)


def recent_ids(text: Any) -> list[str]:
    """Return the ids of a JSON array, at most ``RECENT_RENTALS``; none of what is missing: None or NaN.

    Every second piece between quotation marks is an id: the served graph, which knows no JSON, reads it so.
    """
    return text.split('"')[1::2][:RECENT_RENTALS] if isinstance(text, str) else []


@dataclass(frozen=True)
class RentalEncoding:
    """How a frame becomes the rental's inputs."""

    strings: tuple[str, ...]
    numeric: tuple[str, ...]
    vocabularies: tuple[Vocabulary, ...]
    lifts: tuple[Lift, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that the side takes."""
        return (*self.strings, *(lift.counts for lift in self.lifts), *self.numeric)

    @property
    def origins(self) -> RentalRows:
        """The column that each column of each array of ``encode`` comes from: text [columns]."""
        lifts = [lift.counts for lift in self.lifts for _ in lift.shares]
        return RentalRows(*(np.array(names, dtype=str) for names in (self.strings, self.numeric, lifts)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each text column."""
        return tuple(len(vocabulary) for vocabulary in self.vocabularies)

    def encode(self, frame: pd.DataFrame) -> RentalRows:
        """Turn the rental's columns of ``frame`` into codes, raw numbers (NaN = missing) and log lifts."""
        lifts = [lift.encode(frame[lift.counts]) for lift in self.lifts]
        return RentalRows(
            _codes(frame, self.strings, self.vocabularies),
            numbers(frame, self.numeric),
            np.concatenate([np.zeros((len(frame), 0), np.float32), *lifts], axis=1),
        )


@dataclass(frozen=True)
class Encoding:
    """Vocabularies of both sides, learnt from training events only."""

    columns: Columns
    user: UserEncoding
    rental: RentalEncoding

    @classmethod
    def fit(
        cls,
        events: pd.DataFrame,
        columns: Columns,
        minimum_user_events: int = 1,
        known: "Encoding | None" = None,
    ) -> "Encoding":
        """Learn vocabularies; users with fewer than ``minimum_user_events`` events stay unknown.

        The values of ``known`` keep their codes; new ones come at the end of their vocabularies.
        """
        steps = {context.name: context.step for context in columns.context}
        user_known = known.user.vocabularies if known else (NOTHING,) * len(columns.user_strings)
        rental_known = known.rental.vocabularies if known else (NOTHING,) * len(columns.rental_strings)
        user = {
            name: before.extended(
                events[name], minimum_user_events if name == "user_id" else 1, steps.get(name, 0.0)
            )
            for name, before in zip(columns.user_strings, user_known, strict=True)
        }
        rental = [
            before.extended(events[name])
            for name, before in zip(columns.rental_strings, rental_known, strict=True)
        ]
        lifts = [
            Lift.fit(context.name, context.counts, user[context.name], events[context.name])
            for context in columns.lifted
        ]
        return cls(
            columns,
            UserEncoding(
                columns.user_strings,
                columns.user_numeric,
                tuple(user.values()),
                columns.recent_rentals,
                rental[0],
            ),
            RentalEncoding(columns.rental_strings, columns.rental_numeric, tuple(rental), tuple(lifts)),
        )


def _codes(frame: pd.DataFrame, strings: tuple[str, ...], vocabularies: tuple[Vocabulary, ...]) -> np.ndarray:
    pairs = zip(strings, vocabularies, strict=True)
    return np.stack([vocabulary.encode(frame[name]) for name, vocabulary in pairs], axis=1)


def numbers(frame: pd.DataFrame, names: Iterable[str]) -> np.ndarray:
    """Return the columns as float32 [rows, names]; None and NaN become NaN.

    Raises:
        ValueError: a column holds text that is not a number.
    """
    names = list(names)
    if not names:
        return np.empty((len(frame), 0), np.float32)
    return frame[names].astype("float64").to_numpy(np.float32)
