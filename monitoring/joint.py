"""Whether the features together moved, also where each of them alone stayed: the energy distance.

It is nothing only for equal distributions, whatever moved: a mean, a spread or how features go together. Its
p-value comes from permutations and needs no model (Székely and Rizzo 2013, "Energy statistics").
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from monitoring.distribution import numbers
from monitoring.drift_report import JointDrift
from monitoring.feature_comparison import FAMILIES, Comparison, Sample
from monitoring.settings import MonitoringSettings

ROWS = 1_000
"""Rows drawn from each sample: enough to find any effect worth an alarm, and a second at most."""

PERMUTATIONS = 499
"""With them the smallest p-value is 1 in 500, below the level also when two families of tests share it."""

ROUNDING = 1e-9
"""Relative error of an energy, far above that of sums of floats and far below any difference of note."""

RARE_SHARE = 0.01
"""Categories of a smaller share of the drawn rows are one category to the distance."""

MOST_LIKE_CURRENT = 5
"""Rows to show of those least like the reference."""


def energy_test(
    comparisons: list[Comparison], reference: Sample, current: Sample, settings: MonitoringSettings
) -> JointDrift:
    """Compare the joint distribution of the features of rows drawn from both samples, of each as many.

    Rows are points: of a number its rank, scaled to variance one; of a category a 1 in a column of its own;
    missing values are a category. Whole clusters of either sample are permuted, so that dependent rows do
    not pass for more evidence than they are.

    Args:
        comparisons: the features, as compared one by one.
        reference: the rows they were compared on.
        current: the same.
        settings: thresholds.
    """
    draw = np.random.default_rng(0)
    size = min(ROWS, len(reference.frame), len(current.frame))
    rows = [np.sort(draw.choice(len(each.frame), size, replace=False)) for each in (reference, current)]
    frames = [each.frame.iloc[of_side] for each, of_side in zip((reference, current), rows, strict=True)]
    points = np.hstack([_coordinates(each, frames, rows) for each in comparisons])
    apart = _distances(points)
    groups, clusters = _clusters((reference, current), rows)
    observed = _energy(apart, _weights(np.arange(2 * size)[:, None] < size))[0]
    shuffled = draw.permuted(np.tile(groups[:, None], PERMUTATIONS), axis=0)
    by_chance = _energy(apart, _weights(shuffled[clusters]))
    # A permutation that changes nothing gives the same energy but for rounding.
    p_value = (1 + np.count_nonzero(by_chance >= observed * (1 - ROUNDING))) / (1 + PERMUTATIONS)
    across = apart[size:, :size]
    # Less what chance gives: the fewer the rows, the larger it is.
    effect = float((observed - by_chance.mean()) / (2 * across.mean())) if across.any() else 0.0
    effect *= len(comparisons)
    likeness = across.mean(axis=1) - apart[size:, size:].mean(axis=1)
    newest = rows[1][np.argsort(-likeness, kind="stable")[:MOST_LIKE_CURRENT]]
    adjusted = min(1.0, FAMILIES * float(p_value))
    drifted = adjusted < settings.drift_false_discovery_level and effect > settings.drift_energy
    return JointDrift(adjusted, effect, drifted, 2 * size, tuple(int(row) for row in newest))


def _coordinates(comparison: Comparison, frames: list[pd.DataFrame], rows: list[np.ndarray]) -> np.ndarray:
    """Return a feature of the drawn rows, given as frames and as their places, as columns of points."""
    bins = comparison.bins
    places = np.concatenate(
        [each[drawn] for each, drawn in zip((bins.reference, bins.current), rows, strict=True)]
    )
    if comparison.kind == "numeric":
        values = np.concatenate([numbers(frame, comparison.name) for frame in frames])
        ranks = rankdata(values, nan_policy="omit")
        spread = np.nanstd(ranks) if (places >= 0).any() else 0.0
        scaled = np.nan_to_num((ranks - np.nanmean(ranks)) / spread) if spread else np.zeros(len(places))
        return np.column_stack([scaled, places < 0])
    sizes = np.bincount(places + 1)[places + 1]
    labels = np.where(sizes < RARE_SHARE * len(places), len(bins.counts), places)
    return (labels[:, None] == np.unique(labels)).astype(float)


def _distances(points: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of all points from all: by a matrix product, far faster than `cdist`."""
    squares = (points**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
    np.fill_diagonal(apart, 0)
    return apart


def _clusters(samples: tuple[Sample, Sample], rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each cluster of either side is of the reference, and the cluster of each drawn row."""
    before, after = (
        np.arange(len(drawn)) if sample.clusters is None else pd.factorize(sample.clusters[drawn])[0]
        for sample, drawn in zip(samples, rows, strict=True)
    )
    groups = np.arange(before.max() + after.max() + 2) <= before.max()
    return groups, np.concatenate([before, after + before.max() + 1])


def _weights(of_reference: np.ndarray) -> np.ndarray:
    """Return each row's weight, columns apart: 1/n in the reference, -1/m in the other sample."""
    sizes = of_reference.sum(axis=0)
    return np.where(of_reference, 1 / sizes, -1 / (len(of_reference) - sizes))


def _energy(apart: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return twice the mean distance across samples less the mean ones within, for each column."""
    return -(weights * (apart @ weights)).sum(axis=0)
