"""How far two large samples of numbers lie apart, without sorting them.

Sorting takes most of the time of both distances. Here every value falls into one of many narrow cells, which
takes a few passes over the values. At the ends of cells both cumulative distributions are then known exactly,
and only what is in the few cells which can hold a larger gap than those at their ends needs to be sorted.
"""

import numpy as np
from scipy import stats

MOST_CELLS = 2**16
"""Of a million values about fifteen are in a cell, and the counts still fit into a core's cache."""

CELL = np.uint16
"""Type of a cell's number: all of them fit."""

BLOCK = 2**15
"""Values worked on at once: they stay in a core's cache from one pass to the next."""

CELLS_PER_VALUE = 2
"""More cells would mostly be empty, fewer would leave more to sort."""

ROWS_FOR_KNOTS = 5_000
"""Values drawn from each sample to see how the cells should lie."""

TAIL = 0.001
"""Share of values left to one wide cell at each end, so that an outlier does not widen all others."""

NARROW_HALF = 0.03
"""Where half of all values lie in less than this share of the cells' range, cells of one width would be too
wide for them. Then widths follow the values, which takes longer."""

KNOTS = 512
"""Quantiles between which cells have one width where widths follow the values."""


def distances(reference: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov and the Wasserstein distance, the latter in the unit of the values.

    The first is the largest gap (0..1) between both cumulative distributions, equal to
    `scipy.stats.ks_2samp`'s to the last bit. The second is the area between them; each value is taken to lie
    anywhere in its cell, so that it is right to twice the width of a cell: 1/65,000 of the range where the
    samples are large, more where they have fewer values than that.

    Args:
        reference: finite values, at least one.
        current: the same.
    """
    cells = int(min(MOST_CELLS, CELLS_PER_VALUE * max(len(reference), len(current)) + 2))
    knots, positions = _knots(reference, current, cells)
    if len(knots) < 2:
        return 0.0, 0.0
    with np.errstate(over="ignore", divide="ignore"):
        slopes = np.diff(positions) / np.diff(knots)
    if not np.isfinite(slopes).all() or not slopes.all():
        # So near or so far that their difference is no proper float.
        ks = float(stats.ks_2samp(reference, current, method="asymp").statistic)
        return ks, float(stats.wasserstein_distance(reference, current))
    sides = [_Side(values, _cells(values, knots, positions), cells) for values in (reference, current)]
    gap = sides[0].cumulative - sides[1].cumulative
    size = np.abs(gap[:-1])
    widths = np.diff(np.interp(np.arange(1, cells), positions, knots))
    area = float((widths * (size[:-1] + size[1:])).sum() / 2)
    return _largest_gap(sides, gap), area + _tails(reference, current, knots[0], knots[-1])


class _Side:
    """A sample in its cells."""

    def __init__(self, values: np.ndarray, cells: np.ndarray, count: int) -> None:
        self.values, self.cells = values, cells
        self.counts = np.bincount(cells, minlength=count)
        self.cumulative = self.counts.cumsum() / len(values)

    @property
    def before(self) -> np.ndarray:
        """The cumulative share before each cell."""
        return np.append(0.0, self.cumulative[:-1])

    def rows_in(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return at least the values in the chosen cells, and the cell of each; all if that is as quick."""
        if self.counts[chosen].sum() > len(self.values) / 2:
            return self.values, self.cells
        rows = np.flatnonzero(chosen[self.cells])
        return self.values[rows], self.cells[rows]


def _knots(reference: np.ndarray, current: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ascending values and the cells that begin at them; a single one where all values are equal."""
    draw = np.random.default_rng(0)
    drawn = np.concatenate(
        [values[draw.integers(len(values), size=ROWS_FOR_KNOTS)] for values in (reference, current)]
    )
    low, first, third, high = np.quantile(drawn, [TAIL, 0.25, 0.75, 1 - TAIL], method="nearest")
    if low == high:
        low, high = min(reference.min(), current.min()), max(reference.max(), current.max())
    levels = np.array([low, high])
    if third / 2 - first / 2 < NARROW_HALF * (high / 2 - low / 2):
        levels = np.quantile(drawn, np.linspace(TAIL, 1 - TAIL, KNOTS), method="nearest")
        levels = np.append(np.insert(levels, 0, low), high)
    knots, kept = np.unique(levels, return_index=True)
    # The first cell takes what is below all knots and the last what is above.
    return knots, np.linspace(1, cells - 1, len(levels)).astype(int)[kept]


def _cells(values: np.ndarray, knots: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the cell of each value; never out of order, as each step is monotone in floating point too."""
    last = positions[-1]
    if len(knots) > 2:
        return np.interp(values, knots, positions, left=0).astype(CELL)
    slope = (last - positions[0]) / (knots[1] - knots[0])
    cells = np.empty(len(values), CELL)
    for start in range(0, len(values), BLOCK):
        with np.errstate(over="ignore"):
            places = values[start : start + BLOCK] - knots[0]
            places *= slope
        places += 1
        cells[start : start + BLOCK] = np.clip(places, 0, last, out=places)
    return cells


def _largest_gap(sides: list[_Side], gap: np.ndarray) -> float:
    one, other = sides
    largest = float(np.abs(gap).max())
    # At most, all that one sample has in a cell comes before all of the other's.
    possible = np.maximum(one.cumulative - other.before, other.cumulative - one.before) > largest
    chosen = [side.rows_in(possible) for side in sides]
    # One value of each cell stands for all that equal it: ties, which may be many, need no sorting.
    common = np.full(len(gap), np.nan)
    for values, cells in chosen:
        common[cells] = values
    others = [(values != common[cells]) & possible[cells] for values, cells in chosen]
    if not any(each.any() for each in others):
        return largest
    unsorted = [(values[each], cells[each]) for (values, cells), each in zip(chosen, others, strict=True)]
    mixed = np.unique(np.concatenate([cells for _, cells in unsorted]))
    at = np.concatenate([*(values for values, _ in unsorted), common[mixed]])
    cell = np.concatenate([*(cells for _, cells in unsorted), mixed])
    shares = []
    for side, (values, cells) in zip(sides, unsorted, strict=True):
        rest = side.counts - np.bincount(cells, minlength=len(gap))
        up_to = np.searchsorted(np.sort(values), at, side="right")
        up_to += (rest.cumsum() - rest)[cell] + np.where(at >= common[cell], rest[cell], 0)
        shares.append(up_to / len(side.values))
    return max(largest, float(np.abs(shares[0] - shares[1]).max()))


def _tails(reference: np.ndarray, current: np.ndarray, low: float, high: float) -> float:
    """Return the area beyond both ends of the knots."""
    area = 0.0
    for end, beyond in ((low, np.less), (high, np.greater)):
        outside = [values[beyond(values, end)] for values in (reference, current)]
        inside = [len(values) - len(each) for values, each in zip((reference, current), outside, strict=True)]
        weights = [np.append(np.ones(len(each)), rest) for each, rest in zip(outside, inside, strict=True)]
        ends = [np.append(each, end) for each in outside]
        area += float(stats.wasserstein_distance(*ends, *weights))
    return area
