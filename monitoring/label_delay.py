"""How long labels take: the distribution of their delay, and the time that every answer is given for them.

The delays that are known are too short on average: of a young answer only fast labels have come (right
truncation). The estimate corrects that (Lagakos, Barraj and De Gruttola, "Nonparametric Analysis of Truncated
Survival Data, with Application to AIDS", 1988); what it says of fresh answers is the nowcast of Lawless,
"Adjustments for Reporting Delays" (1994).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

HORIZONS = tuple(pd.Timedelta(text) for text in ("1min", "1h", "1D", "7D", "30D"))
"""What can be the time for labels: few steps, so that it does not change from run to run."""

COVERED = 0.95
"""Share of all labels that must come within the horizon: one in twenty is late for everybody alike."""

LEAST_AT_RISK = 20
"""A delay longer than so few labels could have had is not told from the log."""


@dataclass(frozen=True)
class LabelDelay:
    """The share of labels that are there after some time, of those that come at all.

    Attributes:
        seconds: ascending delays.
        shares: share of the labels with at most that delay; 1 at the longest.
    """

    seconds: np.ndarray
    shares: np.ndarray

    def share(self, seconds: np.ndarray) -> np.ndarray:
        """Return the share of labels whose delay is at most ``seconds``."""
        padded = np.append(0.0, self.shares)
        return padded[np.searchsorted(self.seconds, seconds, side="right")]

    def horizon(self, longest: pd.Timedelta) -> pd.Timedelta:
        """Return the shortest of ``HORIZONS`` with ``COVERED`` of the labels, ``longest`` where none has."""
        covered = (each for each in HORIZONS if self.share(np.array(each.total_seconds())) >= COVERED)
        return min(next(covered, longest), longest) if len(self.seconds) else longest


def label_delay(delays: np.ndarray, ages: np.ndarray) -> LabelDelay:
    """Estimate the distribution of delays from labels that have come.

    Args:
        delays: of each label, seconds from its answer; negative ones, of clocks that differ, count as 0.
        ages: of the answer of each, seconds from it to now.
    """
    delays = np.clip(delays, 0, ages)
    seconds, counts = np.unique(delays, return_counts=True)
    # Labels that came by then, of answers old enough to have shown a label that late.
    came = np.searchsorted(np.sort(delays), seconds, side="right")
    at_risk = came - np.searchsorted(np.sort(ages), seconds, side="left")
    told = np.flatnonzero(at_risk >= LEAST_AT_RISK)
    if not len(told):
        return LabelDelay(np.array([]), np.array([]))
    last = told[-1] + 1
    kept = 1 - counts[:last] / np.maximum(at_risk[:last], counts[:last])
    shares = np.append(np.cumprod(kept[::-1])[::-1][1:], 1.0)
    return LabelDelay(seconds[:last], shares)
