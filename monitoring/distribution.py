"""One feature in two samples, counted in the same bins: what distances compare and charts show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["numeric", "categorical"]

BINS = 10
"""Deciles of the reference: the usual bins of the population stability index."""

FEW_VALUES = 20
"""With at most this many different reference values (ratings, counts), each value is a bin of its own."""

ROWS_FOR_EDGES = 20_000
"""Reference rows whose deciles become the edges of bins: more rows would not move an edge visibly."""


@dataclass(frozen=True)
class Bins:
    """The bin of every row of both samples.

    Attributes:
        reference: the bin of each row, -1 where the value is missing.
        current: the same.
        counts: rows by bin, missing ones left out: indexed by the bin's label, in order (of categories the
            most frequent ones first), integer columns ``reference`` and ``current``.
    """

    reference: np.ndarray
    current: np.ndarray
    counts: pd.DataFrame

    @property
    def unseen(self) -> np.ndarray:
        """Whether a bin has no row of the reference: a category or a range that is new."""
        return self.counts["reference"].to_numpy() == 0


def numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column as floats, NaN where it is missing or infinite; a column not there is all missing.

    Raises:
        ValueError: the column holds something else than numbers.
    """
    if name not in frame:
        return np.full(len(frame), np.nan)
    try:
        values = pd.to_numeric(frame[name]).to_numpy("float64", na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {name!r} is not numeric: {error}; list it as 'categorical'") from error
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.nan)


def binned(reference: pd.DataFrame, current: pd.DataFrame, name: str, kind: Kind) -> Bins:
    """Sort both samples of a feature into bins made from the reference.

    Numeric bins are deciles of the reference, or its values where these are few, and one bin each for
    what lies below and above anything it held. Categorical bins are the categories of either sample, by
    their text.

    Raises:
        ValueError: a numeric column holds something else.
    """
    if kind == "categorical":
        return _categories(reference, current, name)
    return binned_numbers(numbers(reference, name), numbers(current, name))


def binned_numbers(reference: np.ndarray, current: np.ndarray) -> Bins:
    """Sort values as `numbers` returns them into bins, as `binned` does."""
    edges, labels = _edges(reference)
    before, after = (_places(values, edges) for values in (reference, current))
    counts = np.array([_count(places, len(labels)) for places in (before, after)])
    return Bins(before, after, _table(labels, counts))


def shares(bins: Bins, feature: str) -> pd.DataFrame:
    """Return the counts in the long form that charts take.

    Returns:
        A frame with the columns feature, bin, order, sample and share (0..1 within its sample).
    """
    portions = (bins.counts / bins.counts.sum().clip(lower=1)).reset_index()
    portions = portions.assign(order=range(len(portions)), feature=feature)
    return portions.melt(
        id_vars=["feature", "bin", "order"],
        value_vars=["reference", "current"],
        var_name="sample",
        value_name="share",
    )


def _table(labels: Sequence[str] | np.ndarray, counts: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(counts.T, index=pd.Index(labels, name="bin"), columns=["reference", "current"])


def _count(places: np.ndarray, bins: int) -> np.ndarray:
    """Return the rows of each bin."""
    if places.dtype == np.int8:
        # Bytes are compared so fast that doing it bin by bin beats counting all bins at once.
        return np.array([np.count_nonzero(places == each) for each in range(bins)], dtype=int)
    return np.bincount(places[places >= 0], minlength=bins)


def _categories(reference: pd.DataFrame, current: pd.DataFrame, name: str) -> Bins:
    sides = [_factorized(frame, name) for frame in (reference, current)]
    # The same category may have come as a number on one side and as its text on the other.
    merged, found = pd.factorize(np.array([text for _, texts in sides for text in texts], dtype=object))
    counts = np.zeros((2, len(found)), int)
    tables = np.split(merged, [len(sides[0][1])])
    for side, (places, _) in enumerate(sides):
        np.add.at(counts[side], tables[side], _count(places, len(tables[side])))
    order = np.lexsort(-counts[::-1])
    rank = np.empty(len(found), np.int8 if len(found) <= np.iinfo(np.int8).max else np.int64)
    rank[order] = np.arange(len(found))
    # The entry at the end is what -1, a missing value, finds.
    ranks = [np.append(rank[table], rank.dtype.type(-1)) for table in tables]
    before, after = (table[places] for table, (places, _) in zip(ranks, sides, strict=True))
    return Bins(before, after, _table(found[order], counts[:, order]))


def _factorized(frame: pd.DataFrame, name: str) -> tuple[np.ndarray, list[str]]:
    """Return the place of each row's category, -1 where it is missing, among the texts of all."""
    if name not in frame:
        return np.full(len(frame), -1), []
    places, found = pd.factorize(frame[name])
    return places, [str(each) for each in found]


def _places(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count the edges that each value has reached, -1 for NaN: faster by far than a search for so few."""
    places = np.zeros(len(values), np.int8)
    for edge in edges:
        places += (values >= edge).view(np.int8)
    missing = np.isnan(values)
    if missing.any():
        places[missing] = -1
    return places


def _edges(reference: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the ascending lower edges of all bins but the first, and a label for each bin."""
    if np.isnan(reference).all():
        return np.array([]), ["any"]
    smallest, largest = np.nanmin(reference), np.nanmax(reference)
    drawn = reference
    if len(reference) > ROWS_FOR_EDGES:
        drawn = reference[np.random.default_rng(0).integers(len(reference), size=ROWS_FOR_EDGES)]
    drawn = drawn[~np.isnan(drawn)]
    inside = np.unique(np.concatenate([[smallest], drawn]))
    if len(inside) <= FEW_VALUES:
        labels = [f"{value:.6g}" for value in inside]
    else:
        deciles = np.quantile(drawn, np.arange(1, BINS) / BINS)
        inside = np.unique(np.concatenate([[smallest], deciles]))
        ends = [*inside[1:], largest]
        labels = [f"{low:.4g} – {high:.4g}" for low, high in zip(inside, ends, strict=True)]
    edges = np.append(inside, np.nextafter(largest, np.inf))
    return edges, [f"< {smallest:.4g}", *labels, f"> {largest:.4g}"]
