"""Evidence on the mean of bounded values that may be looked at after every value.

A gambler bets on each value before it is seen, at odds that are fair if the mean is as the null hypothesis
says. Then the capital ever grows by a factor of 1 / level with a probability of at most the level (Ville
1939; Waudby-Smith and Ramdas, "Estimating Means of Bounded Random Variables by Betting", JRSS B 2023). No
variance and no number of values is assumed: only that each is in 0..1 and has that mean given those before.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

STAKES = 0.9 ** np.arange(1, 60, 3)
"""Shares of the largest stake that can be lost, from nearly all of it to a five-hundredth. Each gambler keeps
one; their mean capital is at most a factor of twenty behind the best one's."""

STEPS = 40
"""Halvings of a bound: far below any figure's rounding."""


class Restart(NamedTuple):
    """The test that began at one value: its first value, and the largest evidence that it reached.

    Attributes:
        first: place of its first value.
        log_evidence: logarithm of the capital at its height, less the share of the level that the test has.
        reached: place of the value after which it was reached.
        mean: mean of all values that it took, each subject once.
        taken: how many.
    """

    first: int
    log_evidence: float
    reached: int
    mean: float
    taken: int


def log_evidence(values: np.ndarray, bound: float) -> np.ndarray:
    """Return after each value the logarithm of the evidence that the mean is above ``bound``.

    Args:
        values: from 0 to 1, in order.
        bound: above 0, the largest mean under the null hypothesis.
    """
    fortunes = np.cumsum(np.log1p(STAKES[:, None] * (values / bound - 1)), axis=1)
    return np.asarray(np.logaddexp.reduce(fortunes, axis=0) - np.log(len(STAKES)))


def upper_bound(values: np.ndarray, level: float) -> float:
    """Return a bound that the mean of ``values`` exceeds with a probability of at most ``level``."""
    low, high, wanted = float(values.mean()), 1.0, -np.log(level)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if middle < 1 and log_evidence(1 - values, 1 - middle).max() < wanted:
            low = middle
        else:
            high = middle
    return high


def restarts(values: np.ndarray, subjects: np.ndarray, begins: np.ndarray, bound: float) -> Iterator[Restart]:
    """Test anew from each of ``begins`` on, so that a change is not drowned by what was good before it.

    Within a test each subject counts once, by the first value: all that one user says is one piece of
    evidence. Across tests the level is shared (Bonferroni, 1 / k (k + 1) for the k-th), which holds however
    they depend on each other. So the chance that any test ever exceeds 1 / level is at most the level.

    Args:
        values: from 0 to 1, in order.
        subjects: whose each is.
        begins: places where tests begin, ascending.
        bound: above 0, the largest mean under the null hypothesis.
    """
    for number, begin in enumerate(begins, 1):
        places = begin + np.sort(np.unique(subjects[begin:], return_index=True)[1])
        if not len(places):
            return
        evidence = log_evidence(values[places], bound)
        top = int(evidence.argmax())
        yield Restart(
            int(begin),
            float(evidence[top] - np.log(number * (number + 1))),
            int(places[top]),
            float(values[places].mean()),
            len(places),
        )
