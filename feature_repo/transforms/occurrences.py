"""Which values occurred so far, as of each row: how often each one, and which last."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from feature_repo.names import RECENT_RENTALS

as_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
"""One text for one content, whatever the order in which it came about."""


@dataclass
class Counted:
    """How often the values of one attribute occurred, as of each row."""

    counts: np.ndarray
    """``(rows,)`` JSON text from value to count."""

    favourite: np.ndarray
    """``(rows,)`` the most frequent value, the last one in order of a tie; None before the first."""

    distinct: np.ndarray
    """``(rows,)`` how many values occurred."""


def count_values(
    row_place: np.ndarray, first: np.ndarray, values: np.ndarray, counts: list[dict[str, int]]
) -> Counted:
    """Count the values of each row on top of the rows before it; ``counts`` ends as those of the last row."""
    entered = pd.notna(values)
    labels = values[entered].tolist()
    changes = _Changes(row_place, first, entered)
    texts: list[str] = []
    favourites: list[str | None] = []
    distinct: list[int] = []
    for place, arriving in changes:
        count = counts[place]
        for value in labels[arriving]:
            count[value] = count.get(value, 0) + 1
        texts.append(as_json(count))
        favourites.append(max(count.items(), key=_number_then_text)[0] if count else None)
        distinct.append(len(count))
    row = changes.of_row
    return Counted(
        np.array(texts, object)[row], np.array(favourites, object)[row], np.array(distinct, int)[row]
    )


def recall_rentals(
    row_place: np.ndarray,
    first: np.ndarray,
    rentals: np.ndarray,
    happened: np.ndarray,
    recent: list[dict[str, int]],
) -> np.ndarray:
    """List the last rentals as of each row; ``recent`` ends as those of the last row.

    Those of one time are in order of their ids. What is left out is not missed: the others only become later,
    so that it cannot come back unless it happens again.
    """
    entered = pd.notna(rentals)
    arrivals = list(zip(rentals[entered].tolist(), happened[entered].tolist(), strict=True))
    changes = _Changes(row_place, first, entered)
    texts = []
    for place, arriving in changes:
        latest = dict(recent[place])
        for rental, at in arrivals[arriving]:
            latest[rental] = max(at, latest.get(rental, at))
        kept = sorted(latest.items(), key=_number_then_text, reverse=True)[:RECENT_RENTALS]
        recent[place] = dict(kept)
        texts.append(as_json([rental for rental, _ in kept]))
    return np.array(texts, object)[changes.of_row]


class _Changes:
    """The rows in which something entered or a key begins; iterated, the key's place and what entered."""

    def __init__(self, row_place: np.ndarray, first: np.ndarray, entered: np.ndarray) -> None:
        row_of = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(entered))))[entered]
        is_changed = np.diff(row_place, prepend=-1) != 0
        is_changed[row_of] = True
        rows = np.flatnonzero(is_changed)
        self._places = row_place[rows].tolist()
        self._ends = np.searchsorted(row_of, rows, side="right").tolist()
        self.of_row = np.cumsum(is_changed) - 1
        """``(rows,)`` the last of these at or before each row."""

    def __iter__(self) -> Iterator[tuple[int, slice]]:
        return zip(self._places, map(slice, [0, *self._ends], self._ends), strict=True)


def _number_then_text(entry: tuple[str, int]) -> tuple[int, str]:
    return entry[1], entry[0]
