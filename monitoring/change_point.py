"""Since when a feature is another one: the moment that parts its rows best in two.

The maximally selected chi-square statistic (Miller and Siegmund 1982) of the counts of bins before and after
each moment: it finds a change in any part of a distribution, for numbers and categories alike, with missing
values as a bin of their own.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring.distribution import Bins
from monitoring.drift_report import Change

STEPS = 100
"""Moments tried: a hundredth of all rows is as near as a change of the size of an alarm can be dated."""

MOST_BINS = 30
"""Categories beyond the most frequent ones count as one; no number has as many bins."""

PERMUTATIONS = 999
"""With them the smallest p-value is 1 in 1,000."""


@dataclass(frozen=True)
class Steps:
    """Rows of the reference, then of the current sample, cut into steps of time of about equally many rows.

    Attributes:
        of_rows: the step of each row, -1 where its time is missing.
        starts: the first moment of each step.
    """

    of_rows: np.ndarray
    starts: pd.Index


def steps(reference: pd.Series, current: pd.Series) -> Steps:
    """Cut the times of both samples into at most `STEPS` steps; no moment is in two of them."""
    moments, known = pd.factorize(pd.concat([reference, current], ignore_index=True), sort=True)
    rows = np.bincount(moments[moments >= 0])
    earlier = rows.cumsum() - rows
    _, first, of_moments = np.unique(
        earlier * STEPS // max(1, rows.sum()), return_index=True, return_inverse=True
    )
    return Steps(np.append(of_moments, -1)[moments], pd.Index(known[first]))


def change_point(bins: Bins, steps: Steps) -> Change | None:
    """Return since when the rows are others than before, None where all are of one step.

    The p-value is from the same steps in any other order, so rows that depend on others of their own step do
    not make a change look sure.
    """
    timed = steps.of_rows >= 0
    places = np.minimum(np.concatenate([bins.reference, bins.current]).astype(int) + 1, MOST_BINS)
    width = int(places.max()) + 1
    cells = steps.of_rows[timed] * width + places[timed]
    table = np.bincount(cells, minlength=len(steps.starts) * width).reshape(-1, width)
    if len(table) < 2:
        return None
    table = table[:, table.sum(axis=0) > 0]
    after = _chi_square(table)
    draw = np.random.default_rng(0)
    by_chance = np.array([_chi_square(draw.permutation(table)).max() for _ in range(PERMUTATIONS)])
    p_value = (1 + np.count_nonzero(by_chance >= after.max())) / (1 + PERMUTATIONS)
    return Change(steps.starts[int(after.argmax()) + 1], float(p_value))


def _chi_square(table: np.ndarray) -> np.ndarray:
    """Return for each step but the last the statistic of the counts up to it against those after it."""
    before = table.cumsum(axis=0)[:-1]
    totals = table.sum(axis=0)
    rows = before.sum(axis=1, keepdims=True)
    share = rows / totals.sum()
    gaps = (before - share * totals) ** 2 / totals
    return gaps.sum(axis=1) / (share * (1 - share))[:, 0]
