"""Exact Shapley values of a few players."""

from math import comb

import numpy as np


def shapley(values: np.ndarray) -> np.ndarray:
    """Return each player's Shapley value: its mean gain over all orders in which the players may join.

    They sum to ``values[-1] - values[0]`` (Shapley, "A Value for n-Person Games", 1953).

    Args:
        values: worth of each coalition [2 ** players, ...]; coalition c holds player p where bit p is set.

    Returns:
        float64 [players, ...].
    """
    players = len(values).bit_length() - 1
    coalitions = np.arange(len(values))
    sizes = np.array([int(c).bit_count() for c in coalitions])
    found = []
    for player in range(players):
        without = coalitions[(coalitions >> player) & 1 == 0]
        weights = [1 / (players * comb(players - 1, int(size))) for size in sizes[without]]
        found.append(np.tensordot(weights, values[without | 1 << player] - values[without], axes=1))
    return np.array(found)
