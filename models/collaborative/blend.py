"""A weighted sum of rankers' standardised scores, with weights from held-out events."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from models.collaborative.interactions import Interactions
from models.collaborative.ranker import Ranker
from models.metrics import CUT, ndcg

FACTORS = (0.5, 0.7, 1.4, 2.0, 0.0)
"""Changes that are tried on one weight at a time; none is dropped in the first round."""

ROUNDS = 4
"""Passes over the weights; later ones change little."""

MOST_USERS = 20_000
"""Most users of the search: with more its time would grow and its choice would not change."""

HALVES = 5
"""Random halves of the held-out users whose best weights are averaged."""

MOST_SCORES = 60_000_000
"""Most held-out users times items that are scored in a search: 240 MB a model."""

MASKED = -1e4
"""Standardised score of items that the user already has; infinity times a weight of 0 would be no number."""


Fit = Callable[[Interactions], Ranker]
"""Fits a ranker on events."""


@dataclass(frozen=True)
class Blend:
    """A weighted sum; users without events take the scores of one ranker alone."""

    rankers: Mapping[str, Ranker]
    weights: Mapping[str, float]
    known: np.ndarray
    """Whether a user has events [users]."""

    fallback: Ranker

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return scores of all items, float32 [users, items]."""
        total: np.ndarray = np.zeros((len(users), 1), dtype=np.float32)
        for name, ranker in self.rankers.items():
            total = total + np.float32(self.weights[name]) * standardised(ranker.scores(users))
        unknown = ~self.known[users]
        total[unknown] = self.fallback.scores(users[unknown])
        return total


def standardised(scores: np.ndarray) -> np.ndarray:
    """Return scores of each user with mean 0 and deviation 1 over the items; equal ones become 0."""
    scores = np.asarray(scores, dtype=np.float32)
    centred = scores - scores.mean(axis=1, keepdims=True)
    return centred / np.maximum(centred.std(axis=1, keepdims=True), np.float32(1e-12))


class HeldOut:
    """Held-out events by which settings and weights are chosen: one a user."""

    def __init__(self, rest: Interactions, taken: Interactions, negatives: int | None) -> None:
        """Prepare the comparison.

        Args:
            rest: events that models are fitted on.
            taken: held-out events.
            negatives: how many other items the event's item will be compared with; None for all.
        """
        most = max(1, MOST_SCORES // rest.item_count)
        self.users, self.items = taken.users[:most], taken.items[:most]
        self.negatives = negatives
        self.masked = rest.matrix[self.users].toarray() > 0
        self.masked[np.arange(len(self.users)), self.items] = False

    def part(self, chosen: np.ndarray) -> "HeldOut":
        """Return the comparison of some of the users, by position."""
        part = copy(self)
        part.users, part.items, part.masked = self.users[chosen], self.items[chosen], self.masked[chosen]
        return part

    def standardised(self, ranker: Ranker) -> np.ndarray:
        """Return the held-out users' standardised scores; what a user already has lies below all."""
        scores = standardised(ranker.scores(self.users))
        scores[self.masked] = MASKED
        return scores

    def merit(self, scores: np.ndarray) -> float:
        """Return the mean NDCG of the held-out events, expected over the draws of the negatives."""
        own = scores[np.arange(len(self.items)), self.items][:, None]
        better = (scores > own).sum(axis=1) + 0.5 * ((scores == own).sum(axis=1) - 1)
        if self.negatives is None:
            return float(ndcg(better).mean())
        others = np.maximum((~self.masked).sum(axis=1) - 1, 1)
        places = np.arange(CUT)
        chance = binom.pmf(places, self.negatives, np.minimum(better / others, 1.0)[:, None])
        return float((chance @ ndcg(places)).mean())


def best_setting(
    fits: Mapping[float, Fit], rest: Interactions, held_out: HeldOut
) -> tuple[float, float, np.ndarray]:
    """Return the setting of highest held-out NDCG, that NDCG, and the standardised scores."""
    tried = []
    for setting, fit in fits.items():
        scores = held_out.standardised(fit(rest))
        tried.append((setting, held_out.merit(scores), scores))
    return max(tried, key=lambda one: one[1])


def average_weights(scores: Mapping[str, np.ndarray], held_out: HeldOut) -> dict[str, float]:
    """Return the mean of the best weights of random halves of the held-out users, which sum to 1.

    The merit is a step function with many local maxima: the mean over halves depends less on single users.
    """
    halves = []
    draw = np.random.default_rng(0)
    for _ in range(HALVES):
        half = np.sort(draw.permutation(len(held_out.items))[: -(-len(held_out.items) // 2)])
        halves.append(best_weights({name: part[half] for name, part in scores.items()}, held_out.part(half)))
    return {name: float(np.mean([weights[name] for weights in halves])) for name in scores}


def best_weights(scores: Mapping[str, np.ndarray], held_out: HeldOut) -> dict[str, float]:
    """Return weights that sum to 1 of highest merit, by changing one weight at a time while that helps."""
    weights = dict.fromkeys(scores, 1.0 / len(scores))
    total = np.sum([np.float32(weights[name]) * part for name, part in scores.items()], axis=0)
    best = held_out.merit(total)
    for number in range(ROUNDS):
        before = best
        for name, part in scores.items():
            base, found = total - np.float32(weights[name]) * part, weights[name]
            for factor in FACTORS if number else FACTORS[:-1]:
                weight = factor * (weights[name] or 1.0 / len(scores))
                tried = base + np.float32(weight) * part
                merit = held_out.merit(tried)
                if merit > best:
                    best, total, found = merit, tried, weight
            weights[name] = found
        if number and best == before:
            break
    size = sum(weights.values())
    return {name: weight / size for name, weight in weights.items()}
