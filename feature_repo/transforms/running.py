"""Running sums of events over windows: the arithmetic of every windowed feature, for batch and stream alike.

An event enters each window one microsecond after it became known, so that no value as of a time contains what
was learned at that time or later: an event does not see itself, nor its simultaneous neighbours. It leaves
the window of N days at the midnight (UTC) that begins day N + 1 after the day on which it *happened*: windows
move at their tail by whole days and at their head by the event (the "sawtooth" of Chronon's aggregations).
An event that becomes known after it would have left a window never enters that window.

A value is therefore the sum of all that entered less all that left. Sums are kept in whole numbers of a fixed
resolution, so that they are exact: any order and any division of the work gives the same bits. So does the
list of the last rentals, because it is in order of when they happened and not of when they became known.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from feature_repo.names import CLASS_NAMES, WINDOW_DAYS
from feature_repo.transforms.occurrences import Counted, as_json, count_values, recall_rentals
from feature_repo.views import size_label

MICROSECONDS_PER_DAY = 86_400_000_000
NEVER = np.iinfo(np.int64).min
"""Stands for the time of an event that has not happened."""

RATING_RESOLUTION = 1_000
"""Parts of a star that are told apart."""

AMOUNT_RESOLUTION = 100
"""Parts of a currency unit or a size that are told apart: cents."""

LARGEST_SUM = float(2**62)
"""Beyond it a sum would no longer be safe in 64 bits."""

SPANS = (*WINDOW_DAYS, None)
"""The windows in days; None is all time."""

PER_SPAN = ("events", "rating_sum", "rating_square_sum")
PER_MEASURE = ("known", "sum", "square_sum")
MEASURES = ("price", "capacity")
WIDTH = len(SPANS) * len(PER_SPAN) + len(MEASURES) * len(PER_MEASURE)

ATTRIBUTES = {
    "price": pa.float64(),
    "capacity": pa.float64(),
    "size": pa.float64(),
    "category": pa.string(),
    "purpose": pa.string(),
    "rental_id": pa.string(),
    **dict.fromkeys(CLASS_NAMES, pa.string()),
}
"""What an event may tell of the rating, its rental and its user; null where its view does not keep it."""

EVENTS = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("known_at", pa.int64()),
        pa.field("happened_at", pa.int64()),
        pa.field("rating", pa.float64()),
        *(pa.field(name, kind) for name, kind in ATTRIBUTES.items()),
    ]
)
"""What is folded: times in microseconds since 1970; without a ``rating`` a row only makes its key exist."""

STATE = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("totals", pa.list_(pa.int64())),
        pa.field("last_at", pa.int64()),
        pa.field("counts", pa.string()),
        pa.field("recent", pa.string()),
        pa.field("leaving", pa.list_(pa.int64())),
    ]
)
"""What must be kept of the past to go on: a row per key, JSON in ``counts`` and ``recent``, ``LEAVING``
numbers in a row."""

LEAVING = ("at", "span", *PER_SPAN)
"""A sum that will leave a window: when, which window (its place in ``SPANS``), and what."""


class RunningSumError(ValueError):
    """A sum cannot be continued without being wrong."""


@dataclass
class State:
    """The running sums of some keys, up to a time."""

    keys: list[str] = field(default_factory=list)
    totals: np.ndarray = field(default_factory=lambda: np.zeros((0, WIDTH), np.int64))
    """``(keys, WIDTH)``: ``PER_SPAN`` for each of ``SPANS``, ``PER_MEASURE`` for each of ``MEASURES``."""

    last_at: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``(keys,)``: when the last event happened, or ``NEVER``."""

    counts: list[list[dict[str, int]]] = field(default_factory=list)
    """Per key and counted attribute: how often each value occurred."""

    recent: list[dict[str, int]] = field(default_factory=list)
    """Per key: its last ``names.RECENT_RENTALS`` rentals and when each happened last, in no order."""

    leaving: np.ndarray = field(default_factory=lambda: np.zeros((0, 1 + len(LEAVING)), np.int64))
    """``(sums, 1 + LEAVING)``: the place of the key, then ``LEAVING``."""

    @classmethod
    def from_table(cls, table: pa.Table) -> "State":
        """Read rows of the schema ``STATE``."""
        table = table.select(STATE.names).combine_chunks()
        leaving = pa.chunked_array(table["leaving"]).combine_chunks()
        lengths = np.asarray(leaving.value_lengths().to_numpy(zero_copy_only=False), np.int64)
        sums = leaving.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(LEAVING))
        places = np.repeat(np.arange(table.num_rows), lengths // len(LEAVING))
        totals = pa.chunked_array(table["totals"]).combine_chunks().flatten()
        return cls(
            keys=table["key"].to_pylist(),
            totals=totals.to_numpy(zero_copy_only=False).reshape(-1, WIDTH).copy(),
            last_at=table["last_at"].to_numpy().copy(),
            counts=[json.loads(text) for text in table["counts"].to_pylist()],
            recent=[json.loads(text) for text in table["recent"].to_pylist()],
            leaving=np.column_stack([places, sums]).astype(np.int64),
        )

    def to_table(self) -> pa.Table:
        """Return rows of the schema ``STATE``, one per key."""
        leaving = self.leaving[np.argsort(self.leaving[:, 0], kind="stable")]
        ends = np.searchsorted(leaving[:, 0], np.arange(len(self.keys) + 1)) * len(LEAVING)
        return pa.table(
            [
                pa.array(self.keys, pa.string()),
                pa.ListArray.from_arrays(
                    pa.array(np.arange(len(self.keys) + 1) * WIDTH, pa.int32()),
                    pa.array(self.totals.reshape(-1)),
                ),
                pa.array(self.last_at),
                pa.array([as_json(counts) for counts in self.counts], pa.string()),
                pa.array([as_json(recent) for recent in self.recent], pa.string()),
                pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(leaving[:, 1:].reshape(-1))),
            ],
            schema=STATE,
        )

    def with_keys(self, keys: list[str], counted: int) -> "State":
        """Return the state with places for ``keys`` that it does not have yet, each with empty sums."""
        known = set(self.keys)
        new = [key for key in dict.fromkeys(keys) if key not in known]
        return State(
            keys=self.keys + new,
            totals=np.concatenate([self.totals, np.zeros((len(new), WIDTH), np.int64)]),
            last_at=np.concatenate([self.last_at, np.full(len(new), NEVER)]),
            counts=self.counts + [[{} for _ in range(counted)] for _ in new],
            recent=self.recent + [{} for _ in new],
            leaving=self.leaving,
        )


@dataclass
class Rows:
    """The sums as of each time at which one of them changed, by key and time."""

    key: np.ndarray
    """``(rows,)`` text."""

    at: np.ndarray
    """``(rows,)`` microseconds since 1970."""

    totals: np.ndarray
    """``(rows, WIDTH)``."""

    last_at: np.ndarray
    counted: list[Counted]
    """Per counted attribute."""

    recent: np.ndarray
    """``(rows,)`` JSON text: the last ``names.RECENT_RENTALS`` rentals, each once, the last one first."""


def advance(state: State, events: pa.Table, until: int, counted: tuple[str, ...] = ()) -> tuple[Rows, State]:
    """Let events enter, and what is due leave, up to and including ``until``.

    Args:
        state: the sums so far. All of ``events`` became known after what is in it.
        events: rows of the schema ``EVENTS``, in any order, known before ``until``.
        until: microseconds since 1970.
        counted: those of ``ATTRIBUTES`` whose values are counted.

    Returns:
        The rows after the time of ``state``, and the state at ``until``.

    Raises:
        RunningSumError: an event is not known before ``until``, or a sum would overflow.
    """
    events = events.select(EVENTS.names)
    state = state.with_keys(events["key"].to_pylist(), len(counted))
    frame = events.to_pandas()
    known = frame["known_at"].to_numpy(np.int64)
    if len(known) and known.max() >= until:
        raise RunningSumError("an event is folded in before it is known: give a later `until`")
    place = pd.Index(state.keys).get_indexer(frame["key"])
    entering = _entering(frame)
    leaving = np.concatenate([state.leaving, _leaving(place, frame, entering)])
    due = leaving[:, 1] <= until

    places = np.concatenate([place, leaving[due, 0]])
    times = np.concatenate([known + 1, leaving[due, 1]])
    changes = np.concatenate([entering, _left(leaving[due])])
    order = np.lexsort((times, places))
    places, times, changes = places[order], times[order], changes[order]
    first = np.flatnonzero(np.diff(places, prepend=-1) | np.diff(times, prepend=-1))
    sums = np.add.reduceat(changes, first, axis=0) if len(first) else changes
    row_place, row_at = places[first], times[first]
    _check_size(state.totals, places, changes)
    totals = np.cumsum(sums, axis=0)
    begins = np.flatnonzero(np.diff(row_place, prepend=-1))
    before = totals[begins] - sums[begins]
    segment = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(row_place)))
    totals = totals - before[segment] + state.totals[row_place]

    def ordered(values: np.ndarray, absent: object) -> np.ndarray:
        """What events say, in the order of all changes; what leaves says nothing."""
        return np.concatenate([values, np.full(int(due.sum()), absent)])[order]

    happened = np.where(frame["rating"].isna(), NEVER, frame["happened_at"].to_numpy(np.int64))
    happened = ordered(happened, NEVER)
    latest = np.maximum.reduceat(happened, first) if len(first) else happened
    latest = np.maximum(latest, state.last_at[row_place])
    latest = pd.Series(latest).groupby(segment).cummax().to_numpy(np.int64)

    counts = [[dict(count) for count in of_key] for of_key in state.counts]
    counted_rows = [
        count_values(
            row_place, first, ordered(_labels(frame, name), None), [of_key[index] for of_key in counts]
        )
        for index, name in enumerate(counted)
    ]
    recent = list(state.recent)
    rentals = ordered(_labels(frame, "rental_id"), None)
    recent_rows = recall_rentals(row_place, first, rentals, happened, recent)

    ends = np.append(begins, len(row_place))[1:] - 1
    new_totals, new_last = state.totals.copy(), state.last_at.copy()
    new_totals[row_place[ends]], new_last[row_place[ends]] = totals[ends], latest[ends]
    after = State(state.keys, new_totals, new_last, counts, recent, _combined(leaving[~due]))
    return (
        Rows(
            key=np.array(state.keys, object)[row_place],
            at=row_at,
            totals=totals,
            last_at=latest,
            counted=counted_rows,
            recent=recent_rows,
        ),
        after,
    )


def _entering(frame: pd.DataFrame) -> np.ndarray:
    """What each event adds: ``(events, WIDTH)``."""
    is_event = frame["rating"].notna().to_numpy()
    rating = _whole(frame["rating"], RATING_RESOLUTION)
    per_span = np.column_stack([is_event.astype(np.int64), rating, rating * rating])
    known, day = frame["known_at"].to_numpy(np.int64), _day(frame)
    parts = [
        per_span if span is None else per_span * (_leaves_at(day, span) > known + 1)[:, None]
        for span in SPANS
    ]
    for measure in MEASURES:
        amount = _whole(frame[measure], AMOUNT_RESOLUTION)
        parts.append(np.column_stack([frame[measure].notna().astype(np.int64), amount, amount * amount]))
    return np.concatenate(parts, axis=1)


def _leaving(place: np.ndarray, frame: pd.DataFrame, entering: np.ndarray) -> np.ndarray:
    """What each event will take away again, for each window that it entered."""
    day, parts = _day(frame), []
    for index, span in enumerate(SPANS):
        if span is not None:
            sums = entering[:, index * len(PER_SPAN) : (index + 1) * len(PER_SPAN)]
            inside = sums[:, 0] > 0
            head = np.column_stack([place, _leaves_at(day, span), np.full(len(day), index)])
            parts.append(np.concatenate([head, sums], axis=1)[inside])
    return np.concatenate(parts).astype(np.int64)


def _left(leaving: np.ndarray) -> np.ndarray:
    """What each leaving sum changes: ``(sums, WIDTH)``."""
    changes = np.zeros((len(leaving), WIDTH), np.int64)
    first = leaving[:, 2] * len(PER_SPAN)
    for offset in range(len(PER_SPAN)):
        changes[np.arange(len(leaving)), first + offset] = -leaving[:, 3 + offset]
    return changes


def _combined(leaving: np.ndarray) -> np.ndarray:
    """Sums of one key that leave the same window at the same time, as one."""
    if not len(leaving):
        return leaving
    leaving = leaving[np.lexsort((leaving[:, 2], leaving[:, 1], leaving[:, 0]))]
    first = np.flatnonzero(np.any(np.diff(leaving[:, :3], axis=0, prepend=-1) != 0, axis=1))
    return np.concatenate([leaving[first, :3], np.add.reduceat(leaving[:, 3:], first, axis=0)], axis=1)


def _labels(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Values as text, None where there is none or where the row is no event."""
    column = frame[name]
    labels = column
    if ATTRIBUTES[name] == pa.float64():
        labels = column.map({size: size_label(size) for size in column.dropna().unique()})
    return labels.astype(object).where(column.notna() & frame["rating"].notna(), None).to_numpy(object)


def _whole(column: pd.Series, resolution: int) -> np.ndarray:
    numbers = np.rint(column.fillna(0.0).to_numpy() * resolution)
    if np.abs(numbers).max(initial=0.0) ** 2 > LARGEST_SUM:
        raise RunningSumError(
            f"a {column.name} of {column.abs().max():g} is beyond what can be summed exactly"
        )
    return numbers.astype(np.int64)


def _day(frame: pd.DataFrame) -> np.ndarray:
    return frame["happened_at"].to_numpy(np.int64) // MICROSECONDS_PER_DAY


def _leaves_at(day: np.ndarray, span: int) -> np.ndarray:
    return (day + span + 1) * MICROSECONDS_PER_DAY


def _check_size(totals: np.ndarray, places: np.ndarray, changes: np.ndarray) -> None:
    """Refuse sums of one key that could leave 64 bits; ``places`` are sorted."""
    keys = np.flatnonzero(np.diff(places, prepend=-1))
    moved = np.add.reduceat(np.abs(changes.astype(float)), keys, axis=0) if len(keys) else changes
    if np.abs(totals.astype(float)).max(initial=0.0) + moved.max(initial=0.0) > LARGEST_SUM:
        raise RunningSumError(
            "a sum of ratings, prices or sizes is beyond what can be summed exactly: look for an implausible "
            "price or size in the source"
        )
