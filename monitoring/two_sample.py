"""Two-sample tests and distances: how surely, and how far, two samples of one feature differ."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial import distance

MANY_PAIRS = 30_000
"""Rows from which the expansion of the Kolmogorov-Smirnov p-value is right to seven digits."""

FAR_OUT = 2.2
"""Rows times the squared gap from which two one-sided p-values make the two-sided one, in scipy as well."""

SMALLEST_EXPECTED = 5
"""Cochran's rule: with a smaller expected count the chi-square approximation is not to be trusted."""

RARE_SHARE = 0.001
"""Bins below one row in a thousand of both samples are one bin to the index: each adds only noise."""

SMOOTHING = 0.5
"""Jeffreys' prior, added to every bin so that an empty one gives a large logarithm, not an infinite one."""


def kolmogorov_smirnov_p_value(ks: float, sizes: tuple[float, float]) -> float:
    """Return how likely a gap of ``ks`` is by chance with ``sizes`` independent rows.

    It is `scipy.stats.ks_2samp`'s asymptotic p-value, far out and from many rows by Lauwerier's expansion
    (1963): equal to seven digits where p is above 1e-9, without a sum over all rows. With ties, as in
    counts, it errs on the side of no alarm.
    """
    pairs = max(1, round(sizes[0] * sizes[1] / (sizes[0] + sizes[1])))
    squared = pairs * ks**2
    if pairs < MANY_PAIRS or squared < FAR_OUT:
        return float(stats.kstwo.sf(ks, pairs))
    return 2 * math.exp(-2 * squared - 2 * ks / 3 + 4 / 9 * squared * (1 - squared) / pairs)


def common_bins(counts: pd.DataFrame, sizes: tuple[float, float]) -> np.ndarray:
    """Return for each bin the one to count it in: its own, or the last one for all too rare for chi-square.

    Args:
        counts: rows by bin, columns ``reference`` and ``current``, both with rows.
        sizes: independent rows that both columns are worth at least.
    """
    expected = (counts / counts.sum() * sizes).to_numpy().sum(axis=1) * min(sizes) / sum(sizes)
    rare = expected < SMALLEST_EXPECTED
    return np.where(rare, np.count_nonzero(~rare), np.cumsum(~rare) - 1)


def chi_square_p_value(table: np.ndarray, sizes: tuple[float, float]) -> float:
    """Return how likely it is by chance that two samples' shares of bins differ so much.

    With ``sizes`` as large as the counts it is `scipy.stats.chi2_contingency`'s p-value, Yates' correction of
    two bins included; with smaller ones counts are scaled to them (first-order Rao-Scott). With fewer than
    two bins nothing can differ, and the result is 1.

    Args:
        table: counts, a row for each of the two samples, a column for each bin.
        sizes: independent rows that each sample is worth.
    """
    table = table * (np.array(sizes) / table.sum(axis=1))[:, None]
    table = table[:, table.sum(axis=0) > 0]
    return float(stats.chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


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


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted so that a cut at q keeps the false discovery rate below q (1995)."""
    return stats.false_discovery_control(p_values, method="bh") if len(p_values) else np.array([])
