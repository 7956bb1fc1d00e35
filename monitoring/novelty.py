"""Which rows look new: they hold what the reference never held, or lie where it has few rows."""

import numpy as np

from monitoring.drift_report import NewRow
from monitoring.feature_comparison import Comparison, Sample

MOST_ROWS = 5
"""Rows a person will look at, of either reason."""


def new_rows(
    comparisons: list[Comparison], current: Sample, least_like: tuple[int, ...]
) -> tuple[NewRow, ...]:
    """Return the current rows with the most values never seen, then those least like the reference.

    A value was never seen if the reference does not hold its category, or nothing as small or as large.

    Args:
        comparisons: of all features.
        current: the rows they were compared on.
        least_like: positions of rows, as `energy_test` finds them.
    """
    unseen = {each.name: _unseen(each) for each in comparisons}
    found, features = np.unique(np.concatenate(list(unseen.values())), return_counts=True)
    first = found[np.argsort(-features, kind="stable")[:MOST_ROWS]]
    new = [
        _row(current, row, "never seen: ", [name for name, rows in unseen.items() if row in rows])
        for row in first
    ]
    names = [each.name for each in comparisons if each.name in current.frame]
    rest = [row for row in least_like if row not in first]
    return (*new, *(_row(current, row, "far from the reference: ", names) for row in rest[:MOST_ROWS]))


def _unseen(comparison: Comparison) -> np.ndarray:
    """Return the positions of current rows whose value is in a bin without a row of the reference."""
    bins = comparison.bins
    if not bins.counts["current"][bins.unseen].any():
        return np.array([], int)
    return np.flatnonzero(np.append(bins.unseen, False)[bins.current])


def _row(current: Sample, position: int, why: str, names: list[str]) -> NewRow:
    row = current.frame.iloc[position]
    values = ", ".join(f"{name} = {_text(row[name])}" for name in names)
    return NewRow(str(current.frame.index[position]), why + values)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
