"""What a cache keeps away from a store, where objects are met by Zipf's law.

An LRU cache by Che's approximation (Che, Tung and Wang, "Hierarchical Web Caching Systems", 2002; why it is
so close: Fricker, Robert and Roberts, "A Versatile and Accurate Approximation for LRU Cache Performance",
2012), and one that only expires.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from scipy import optimize

EXACT_RANKS = 1_000
"""Ranks that are taken one by one: behind them neighbours are met equally often, and stand in one class."""

CLASSES = 2_000
"""Classes of the ranks behind, of growing size: a hundred million objects take a millisecond."""


@dataclass(frozen=True)
class Popularity:
    """Classes of objects that are met equally often: how many [classes], and the chance of each [classes]."""

    counts: np.ndarray
    chances: np.ndarray


def zipf(objects: int, exponent: float) -> Popularity:
    """Return Zipf's law: the object at rank r is met in proportion to ``r ** -exponent``."""
    exact = min(objects, EXACT_RANKS)
    first = np.arange(1, exact + 1) ** -exponent
    edges = (
        np.unique(np.geomspace(exact + 1, objects + 1, CLASSES).round()) if objects > exact else np.empty(0)
    )
    counts, middle = np.diff(edges), edges - 0.5
    if exponent == 1:
        sums = np.diff(np.log(middle))
    else:
        sums = np.diff(middle ** (1 - exponent)) / (1 - exponent)
    weights = np.concatenate([first, sums / counts])
    counts = np.concatenate([np.ones(exact), counts])
    return Popularity(counts, weights / (weights * counts).sum())


def lru_hit_ratio(popularity: Popularity, size: int) -> float:
    """Return the share of lookups that an LRU cache of ``size`` objects answers, by Che's approximation.

    An object is there if it was met in the last ``t`` lookups, where in ``t`` lookups ``size`` different
    objects are met on average.
    """
    counts, chances = popularity.counts, popularity.chances
    if size >= counts.sum():
        return 1.0

    def met(log_lookups: float) -> float:
        return float((counts * -np.expm1(-chances * np.exp(log_lookups))).sum() - size)

    lookups = np.exp(optimize.brentq(met, -50.0, 50.0))
    return float((counts * chances * -np.expm1(-chances * lookups)).sum())


def expiring_hit_ratio(popularity: Popularity, lookups: float) -> float:
    """Return the share that a cache without a bound answers, whose objects expire after so many lookups.

    Of an object that is met m times on average before it expires, one of 1 + m lookups goes to the store.
    """
    meetings = popularity.chances * lookups
    return float((popularity.counts * popularity.chances * meetings / (1 + meetings)).sum())


def simulated_hit_ratio(objects: int, exponent: float, size: int, lookups: int, seed: int) -> float:
    """Return the share that a real LRU cache of ``size`` answers, in the second half of ``lookups``."""
    total = np.cumsum(np.arange(1, objects + 1) ** -exponent)
    drawn = np.searchsorted(total, np.random.default_rng(seed).random(lookups) * total[-1])
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for number, key in enumerate(drawn.tolist()):
        if key in cache:
            cache.move_to_end(key)
            hits += number >= lookups // 2
        else:
            cache[key] = None
            if len(cache) > size:
                cache.popitem(last=False)
    return hits / (lookups - lookups // 2)
