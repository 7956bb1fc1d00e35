"""Figures of merit and their intervals."""

import numpy as np

CUT = 10
"""Length of the list that a user sees."""

RESAMPLES = 1000
"""Bootstrap resamples: the interval's ends are then good to about a tenth of its width."""


def ranks(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return each target's rank, from 0: rentals that are better, plus half of the other ties.

    Args:
        scores: [events, rentals], without NaN.
        target: position of the chosen rental [events].

    Raises:
        ValueError: scores hold NaN, which would rank as best.
    """
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN: the model is damaged; train it again")
    own = scores[np.arange(len(target)), target][:, None]
    return (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def ndcg(rank: np.ndarray) -> np.ndarray:
    """Return each event's NDCG at ``CUT``: one relevant rental, gain 1 / log2(rank + 2)."""
    return np.where(rank < CUT, 1.0 / np.log2(rank + 2.0), 0.0)


def hit_rate(rank: np.ndarray) -> np.ndarray:
    """Return 1 for each event whose rental is within the first ``CUT``, else 0."""
    return (rank < CUT).astype(np.float64)


def interval(values: np.ndarray, users: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of ``values``, resampling whole users.

    Events of one user resemble each other, so users are the independent units.
    """
    _, codes = np.unique(users, return_inverse=True)
    sums = np.bincount(codes, weights=values)
    counts = np.bincount(codes).astype(np.float64)
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = np.bincount(generator.integers(len(sums), size=len(sums)), minlength=len(sums))
        means[number] = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
