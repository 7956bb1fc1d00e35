"""How many independent rows clustered ones are worth, such as the many ratings of one user.

The design effect (Kish 1965) is the variance of a share in clustered rows over that in as many independent
ones. It is estimated from the totals of clusters (the "ultimate cluster" estimate of Hansen, Hurwitz and
Madow 1953), which needs no model of how rows of one cluster are alike. For time-dependent rows a cluster is a
block of time that is longer than the dependence.
"""

import numpy as np


def all_alike(clusters: np.ndarray) -> float:
    """Return what rows are worth when all of one cluster are alike: (sum n)^2 / sum n^2 over cluster sizes.

    Args:
        clusters: the cluster of each row, 0, 1, …
    """
    squares = float((np.bincount(clusters).astype(float) ** 2).sum())
    return len(clusters) ** 2 / squares if squares else 0.0


def of_shares(bins: np.ndarray, clusters: np.ndarray) -> float:
    """Return what rows are worth to a chi-square test of the shares of bins.

    The design effects of all shares enter by their generalized mean, the first-order correction of Rao and
    Scott (1981).

    Args:
        bins: the bin of each row, 0, 1, …
        clusters: the cluster of each row, 0, 1, …
    """
    rows = len(bins)
    shares = np.bincount(bins) / rows
    held = np.flatnonzero(shares)
    if len(held) < 2:
        return all_alike(clusters)
    sizes = np.bincount(clusters)
    cells = np.unique(bins * np.int64(len(sizes)) + clusters, return_counts=True)
    squares = np.bincount(cells[0] // len(sizes), weights=cells[1].astype(float) ** 2)
    products = np.bincount(bins, weights=sizes[clusters])
    # For each bin, over clusters: the sum of (rows in the bin - its share of the cluster's rows)^2.
    variance = (squares - 2 * shares * products + shares**2 * float((sizes.astype(float) ** 2).sum()))[held]
    effect = float((variance / shares[held]).sum()) / rows / (len(held) - 1)
    return _bounded(effect, clusters)


def of_distribution(bins: np.ndarray, clusters: np.ndarray) -> float:
    """Return what rows are worth to a Kolmogorov-Smirnov test, whose largest gap may lie between any bins.

    The largest of the design effects of all cumulative shares counts.

    Args:
        bins: the bin of each row, in order, 0, 1, …
        clusters: the cluster of each row, 0, 1, …
    """
    rows = len(bins)
    sizes = np.bincount(clusters)
    effects = []
    for last in np.unique(bins)[:-1]:
        below = np.bincount(clusters[bins <= last], minlength=len(sizes))
        share = below.sum() / rows
        effects.append(float(((below - sizes * share) ** 2).sum()) / (rows * share * (1 - share)))
    return _bounded(max(effects), clusters) if effects else all_alike(clusters)


def _bounded(effect: float, clusters: np.ndarray) -> float:
    """Return rows over the design effect, corrected for few clusters, and no more than there are rows."""
    present = np.count_nonzero(np.bincount(clusters))
    if present < 2:
        return all_alike(clusters)
    effect *= present / (present - 1)
    return len(clusters) / max(1.0, float(effect))
