"""The short search: a blend's settings and weights from one held-out event a user, then the fit on all."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp

from models.collaborative.blend import MOST_USERS, Blend, Fit, HeldOut, average_weights, best_setting
from models.collaborative.implicit_als import fit_implicit_als
from models.collaborative.interactions import Interactions, Protocol
from models.collaborative.linear import fit_ease, fit_next_item
from models.collaborative.popularity import fit_popularity, fit_trend
from models.collaborative.softmax import SoftmaxSettings, fit_softmax

log = logging.getLogger(__name__)

DIMENSIONS = (192, 128, 64)
"""Lengths of vectors; the longest that is affordable is best, given the right regularisation."""

AFFORDABLE = 2e11
"""Most events times dimension² for the exact solutions of a sweep: about ten seconds of a core."""


LARGEST_TABLE = 10_000_000
"""Most numbers of all vectors: each step of Adam moves them all."""


@dataclass(frozen=True)
class Choice:
    """What the search found."""

    settings: Mapping[str, float]
    """The chosen setting of each ranker."""

    merits: Mapping[str, float]
    """Held-out NDCG of each ranker alone and of the blend."""

    weights: Mapping[str, float]
    """Weight of each ranker's standardised scores."""


def fit_best(
    events: Interactions,
    protocol: Protocol,
    seed: int,
    user_features: sp.csr_matrix | None = None,
    item_features: sp.csr_matrix | None = None,
) -> tuple[Blend, Choice]:
    """Fit the blend; the same events and seed give the same blend on a CPU.

    Args:
        events: all training events; with times the order of a user's events counts too.
        protocol: how the ranking will be tested.
        seed: of all draws.
        user_features: float [users, features].
        item_features: float [items, features].
    """
    candidates = _candidates(events, seed, user_features, item_features)
    rest, taken = events.hold_out(MOST_USERS, protocol.last, seed)
    if len(taken):
        choice = _choose(candidates, rest, HeldOut(rest, taken, protocol.negatives))
    else:
        log.info("no user has two events: nothing to search on, the blend weighs all rankers alike")
        middle = {name: list(fits)[len(fits) // 2] for name, fits in candidates.items()}
        choice = Choice(middle, {}, dict.fromkeys(candidates, 1.0 / len(candidates)))
    rankers = {
        name: candidates[name][choice.settings[name]](events)
        for name, weight in choice.weights.items()
        if weight > 0
    }
    fallback = rankers.get("softmax", fit_popularity(events))
    return Blend(rankers, choice.weights, np.diff(events.matrix.indptr) > 0, fallback), choice


def _choose(candidates: Mapping[str, Mapping[float, Fit]], rest: Interactions, held_out: HeldOut) -> Choice:
    settings: dict[str, float] = {}
    merits: dict[str, float] = {}
    scores: dict[str, np.ndarray] = {}
    for name, fits in candidates.items():
        settings[name], merits[name], scores[name] = best_setting(fits, rest, held_out)
        log.info("%s: best setting %g, held-out NDCG %.4f", name, settings[name], merits[name])
    weights = average_weights(scores, held_out)
    total = np.sum([np.float32(weight) * scores[name] for name, weight in weights.items()], axis=0)
    return Choice(settings, {**merits, "blend": held_out.merit(total)}, weights)


def _candidates(
    events: Interactions,
    seed: int,
    user_features: sp.csr_matrix | None,
    item_features: sp.csr_matrix | None,
) -> dict[str, dict[float, Fit]]:
    # Each ranker with the values of its one setting that matters.
    rows = events.user_count + events.item_count
    dimension = next(
        (size for size in DIMENSIONS if len(events) * size**2 <= AFFORDABLE and rows * size <= LARGEST_TABLE),
        DIMENSIONS[-1],
    )

    def implicit_als(regularisation: float) -> Fit:
        return lambda some: fit_implicit_als(some.matrix, dimension, regularisation, seed)

    def softmax(l2: float) -> Fit:
        settings = SoftmaxSettings(dimension=dimension, l2=l2)
        return lambda some: fit_softmax(some, settings, seed, user_features, item_features)

    candidates: dict[str, dict[float, Fit]] = {
        "ease": {value: partial(fit_ease, regularisation=value) for value in (100.0, 300.0, 1000.0)},
        "implicit_als": {value: implicit_als(value) for value in (0.004, 0.007, 0.015)},
        "softmax": {value: softmax(value) for value in (0.01, 0.03, 0.1)},
    }
    if events.times is not None:
        candidates |= {
            "next_item": {
                value: partial(fit_next_item, regularisation=value) for value in (100.0, 500.0, 2500.0)
            },
            "trend": {value: partial(fit_trend, half_life=value) for value in (0.01, 0.03, 0.1)},
        }
    return candidates
