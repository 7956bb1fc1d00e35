"""Two-sample tests and distances: how surely, and how far, two samples of one feature differ."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial import distance

SMALLEST_EXPECTED = 5
"""Cochran's rule: with a smaller expected count the chi-square approximation is not to be trusted."""

RARE_SHARE = 0.001
"""Bins below one row in a thousand of both samples are one bin to the index: each adds only noise."""

SMOOTHING = 0.5
"""Jeffreys' prior, added to every bin so that an empty one gives a large logarithm, not an infinite one."""


def effective_size(clusters: pd.Series) -> float:
    """Return how many independent rows these are worth (Kish 1965): (sum n)^2 / sum n^2 over cluster sizes.

    It takes the rows of one cluster (such as one user) to be alike, and so errs on the side of no alarm.
    Rows without a cluster count as one cluster each.
    """
    sizes = clusters.value_counts().to_numpy(dtype=float)
    alone = int(clusters.isna().sum())
    squares = float((sizes**2).sum()) + alone
    return (float(sizes.sum()) + alone) ** 2 / squares if squares else 0.0


def kolmogorov_smirnov_distance(reference: np.ndarray, current: np.ndarray) -> float:
    """Return the largest gap (0..1) between both cumulative distributions; both samples non-empty."""
    return float(stats.ks_2samp(reference, current, method="asymp").statistic)


def kolmogorov_smirnov_p_value(ks: float, sizes: tuple[float, float]) -> float:
    """Return how likely a gap of ``ks`` is by chance with ``sizes`` independent rows.

    With ties, as in counts, it errs on the side of no alarm.
    """
    pairs = sizes[0] * sizes[1] / (sizes[0] + sizes[1])
    return float(stats.kstwo.sf(ks, max(1, round(pairs))))


def chi_square_p_value(counts: pd.DataFrame, sizes: tuple[float, float]) -> float:
    """Return how likely it is by chance that the columns of ``counts``, both with rows, differ so much.

    Counts are scaled to ``sizes`` independent rows (first-order Rao-Scott); bins too rare for the test are
    pooled. With fewer than two bins left nothing can differ, and the result is 1.
    """
    table = counts.to_numpy(dtype=float).T
    table = table * (np.array(sizes) / table.sum(axis=1))[:, None]
    rare = (table.sum(axis=0) * min(sizes) / sum(sizes)) < SMALLEST_EXPECTED
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def missing_share_p_value(shares: tuple[float, float], sizes: tuple[float, float]) -> float:
    """Return how likely it is by chance that two shares differ so much (chi-square, Yates' correction)."""
    missing = [share * size for share, size in zip(shares, sizes, strict=True)]
    table = np.array([missing, [size - lost for size, lost in zip(sizes, missing, strict=True)]])
    if (table.sum(axis=1) == 0).any():
        return 1.0
    return float(stats.chi2_contingency(table, correction=True).pvalue)


def population_stability_index(counts: pd.DataFrame) -> float:
    """Return the sum of (q - p) ln(q / p) over bins: 0 for equal shares, above 0.2 by custom a real shift."""
    table = counts.to_numpy(dtype=float)
    rare = (table / table.sum(axis=0)).max(axis=1) < RARE_SHARE
    table = np.vstack([table[~rare], table[rare].sum(axis=0)]) + SMOOTHING
    reference, current = (table / table.sum(axis=0)).T
    return float(((current - reference) * np.log(current / reference)).sum())


def jensen_shannon(counts: pd.DataFrame) -> float:
    """Return the Jensen-Shannon distance, base 2: 0 for equal shares, 1 for samples without a common bin."""
    table = counts.to_numpy(dtype=float)
    return float(distance.jensenshannon(table[:, 0], table[:, 1], base=2))


def wasserstein(reference: np.ndarray, current: np.ndarray) -> float:
    """Return how far values moved on average, in standard deviations of the reference.

    A constant reference has none; then both samples together give the unit, and 0 means the same constant.
    """
    unit = float(reference.std()) or float(np.concatenate([reference, current]).std())
    return float(stats.wasserstein_distance(reference, current)) / unit if unit else 0.0


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted so that a cut at q keeps the false discovery rate below q (1995)."""
    return stats.false_discovery_control(p_values, method="bh") if len(p_values) else np.array([])
