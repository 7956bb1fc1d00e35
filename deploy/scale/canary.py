"""How soon a canary's loss of reward shows, decided at every look by ``serving.evidence``.

The trials of a rollout are users, not requests: a user stays on one predictor and counts once. So how many
there are bounds what a small share of the traffic can ever show.
"""

import math
from dataclasses import dataclass

import numpy as np

from serving.evidence import less_reward
from serving.simulation import simulate

LOOK_EFFECT = 3.0
"""Users between two looks, times share, times the other share, times the square of the loss: the 400 looks of
a simulated rollout then reach several times as far as a loss takes to show."""

EQUAL_EVERY = 500_000
"""Users between two looks at an equal canary: a million requests a second, looked at twice a second."""


@dataclass(frozen=True)
class Found:
    """Users of both arms until a loss is found: in the median, and in nine of ten rollouts."""

    median: float
    nine_of_ten: float


def users_until_found(loss: float, share: float, level: float, rollouts: int, seed: int) -> Found:
    """Simulate rollouts of a canary that loses reward, and count users until it is taken back.

    Args:
        loss: as a part of the champion's reward.
        share: part of the users whom the canary answers.
        level: of the evidence, as in ``serving.settings.DecisionThresholds``.
        rollouts: how many are simulated.
        seed: of the draws.
    """
    every = math.ceil(LOOK_EFFECT / (share * (1 - share) * loss**2))
    passed = less_reward(*simulate(loss, every, share, rollouts, seed).counts) >= -math.log(level)
    users = np.where(passed.any(axis=1), (passed.argmax(axis=1) + 1.0) * every, np.inf)
    return Found(float(np.median(users)), float(np.quantile(users, 0.9, method="higher")))


def false_alarms(share: float, level: float, rollouts: int, seed: int) -> tuple[float, float]:
    """Return the shares of equal canaries taken back: by the evidence, and by a test for one look."""
    equal = simulate(0.0, EQUAL_EVERY, share, rollouts, seed)
    evidence = (less_reward(*equal.counts) >= -math.log(level)).any(axis=1).mean()
    return float(evidence), float((equal.fixed_p_values < level).any(axis=1).mean())


def seconds_until_seen(found: float, users: int, requests_per_second: float, look: float) -> float:
    """Return the time until ``found`` different users have asked, at least a ``look``; infinite for too few.

    Of users who ask equally often, ``users * (1 - exp(-requests / users))`` have asked after ``requests``.
    """
    if found >= users:
        return math.inf
    return max(look, -users / requests_per_second * math.log1p(-found / users))
