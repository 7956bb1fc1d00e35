"""A model beside its rival on the same events: paired differences and how sure they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from models.metrics import interval

if TYPE_CHECKING:
    import pandas as pd

    from models.window_scores import WindowScores

NDCG, SQUARED_ERROR = "NDCG@10", "squared error"

EVERYBODY = "all events"


@dataclass(frozen=True)
class Comparison:
    """One figure of the candidate beside the rival's.

    Attributes:
        figure: ``NDCG`` or ``SQUARED_ERROR``.
        segment: partition and group, or ``EVERYBODY``.
        events: how many count.
        candidate: mean of the candidate.
        rival: mean of the rival.
        gain: mean paired difference; above zero the candidate is better, whichever the figure.
        interval: of the gain.
        margin: what the candidate may lose.
    """

    figure: str
    segment: str
    events: int
    candidate: float
    rival: float
    gain: float
    interval: tuple[float, float]
    margin: float

    @property
    def better(self) -> bool:
        """The gain is outside noise."""
        return self.interval[0] > 0

    @property
    def no_worse(self) -> bool:
        """It is outside noise that no more than the margin is lost."""
        return self.interval[0] >= -self.margin

    @property
    def lost(self) -> bool:
        """There is a loss outside noise, and it is larger than the margin."""
        return self.interval[1] < 0 and self.gain < -self.margin

    def __str__(self) -> str:
        where = "" if self.segment == EVERYBODY else f" ({self.segment})"
        low, high = self.interval
        return (
            f"{self.figure}{where} {self.candidate:.4f} against {self.rival:.4f}, "
            f"gain {self.gain:+.4f} [{low:+.4f}, {high:+.4f}]"
        )


@dataclass(frozen=True)
class Pair:
    """One figure of both on the same events: ``ours``, ``theirs`` and ``users`` [events]."""

    figure: str
    segment: str
    ours: np.ndarray
    theirs: np.ndarray
    users: np.ndarray

    @property
    def gains(self) -> np.ndarray:
        """Differences [events], above zero where ours is better."""
        return self.ours - self.theirs if self.figure == NDCG else self.theirs - self.ours

    def within(self, segment: str, inside: np.ndarray) -> "Pair":
        """The part of the events ``inside``, bool [events]."""
        return Pair(self.figure, segment, self.ours[inside], self.theirs[inside], self.users[inside])

    def compared(self, share: float, confidence: float | None = None) -> Comparison:
        """Compare, with a margin of ``share`` of the rival's mean.

        Args:
            share: what may be lost, as a share.
            confidence: of the interval, by the variance between users; None takes the 95 % bootstrap.
        """
        rival = float(self.theirs.mean())
        return Comparison(
            figure=self.figure,
            segment=self.segment,
            events=len(self.ours),
            candidate=float(self.ours.mean()),
            rival=rival,
            gain=float(self.gains.mean()),
            interval=clustered_interval(self.gains, self.users, confidence)
            if confidence
            else interval(self.gains, self.users),
            margin=share * rival,
        )


def pairs(
    candidate: "WindowScores", rival: "WindowScores", ranked: np.ndarray, users: np.ndarray
) -> tuple[Pair, Pair]:
    """Pair both figures over all events; the ranking counts only those that are ``ranked`` [events]."""
    return (
        Pair(NDCG, EVERYBODY, candidate.ndcg, rival.ndcg, users).within(EVERYBODY, ranked),
        Pair(SQUARED_ERROR, EVERYBODY, candidate.squared_error, rival.squared_error, users),
    )


def parts(pair: Pair, segments: "pd.DataFrame", least_events: int) -> Iterator[Pair]:
    """Part a pair by each column of ``segments`` [events of the pair, partitions]; large groups only."""
    for partition in segments:
        for group in sorted(segments[partition].unique()):
            inside = (segments[partition] == group).to_numpy()
            if inside.sum() >= least_events:
                yield pair.within(f"{partition}: {group}", inside)


def clustered_interval(values: np.ndarray, users: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the interval of the mean of ``values`` by the variance between users.

    The linearized variance of a ratio (Cochran, Sampling Techniques, 1977, chapter 6): unlike a bootstrap it
    reaches the far quantiles that a correction for many comparisons asks for. A single user gives an infinite
    interval.
    """
    _, codes = np.unique(users, return_inverse=True)
    count, mean = int(codes.max()) + 1, float(values.mean())
    if count < 2:
        return -np.inf, np.inf
    residuals = np.bincount(codes, weights=values - mean)
    deviation = np.sqrt(count / (count - 1) * (residuals**2).sum()) / len(values)
    reach = float(NormalDist().inv_cdf((1 + confidence) / 2) * deviation)
    return mean - reach, mean + reach
