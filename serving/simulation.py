"""How often the canary's decision is wrong, and how long it takes: ``python -m serving.simulation``.

Many rollouts of arms whose rewards are known are decided, at every look, as ``serving.decision`` decides.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from serving.evidence import kept_reward, less_reward
from serving.settings import DecisionThresholds

ROLLOUTS = 10_000
"""Simulated rollouts of each figure: a rate of 1 % is known to .2 %."""

LOOKS = 400
"""Looks at each rollout."""

REWARD = 0.1
"""Share of the champion's answers that are liked."""

CANARY_SHARE = 0.5
"""Share of the requests that the canary gets, by which a loss is found soonest."""

LOSSES = {0.01: 40_000, 0.05: 2_000, 0.2: 200}
"""Losses of reward that are looked for, and the requests of both arms between two looks."""

MARGIN = 0.2
"""Margin of the simulated promotions."""


@dataclass(frozen=True)
class Rollouts:
    """Counts of simulated rollouts at each look, int64 [rollouts, looks]."""

    champion_trials: np.ndarray
    champion_hits: np.ndarray
    canary_trials: np.ndarray
    canary_hits: np.ndarray

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Hits and trials of the champion, then of the canary, as ``serving.evidence`` takes them."""
        return self.champion_hits, self.champion_trials, self.canary_hits, self.canary_trials

    @property
    def fixed_p_values(self) -> np.ndarray:
        """What a test that is meant for one look gives at each of them [rollouts, looks]."""
        share = self.champion_trials / (self.champion_trials + self.canary_trials)
        return np.asarray(
            stats.binom.sf(self.champion_hits - 1, self.champion_hits + self.canary_hits, share)
        )


def simulate(
    loss: float, every: int, canary_share: float = CANARY_SHARE, rollouts: int = ROLLOUTS, seed: int = 0
) -> Rollouts:
    """Draw rollouts of a canary that loses ``loss`` of the reward, looked at after ``every`` requests."""
    draw = np.random.default_rng(seed)
    canary = draw.binomial(every, canary_share, (rollouts, LOOKS))
    hits = draw.binomial(every - canary, REWARD), draw.binomial(canary, REWARD * (1 - loss))
    counts = every - canary, hits[0], canary, hits[1]
    return Rollouts(*(np.cumsum(each, axis=1) for each in counts))


def figures(rollouts: int = ROLLOUTS, seed: int = 0) -> dict[str, Any]:
    """Return the rates of wrong decisions, each beside its level, and the requests that a loss takes."""
    level = DecisionThresholds().reward_significance
    limit = -np.log(level)
    equal = simulate(0.0, LOSSES[0.2], rollouts=rollouts, seed=seed)
    few = simulate(0.0, LOSSES[0.2], canary_share=0.05, rollouts=rollouts, seed=seed)
    worse = simulate(MARGIN, LOSSES[0.2], rollouts=rollouts, seed=seed)
    found = {}
    for loss, every in LOSSES.items():
        passed = less_reward(*simulate(loss, every, rollouts=rollouts, seed=seed).counts) >= limit
        requests = np.where(passed.any(axis=1), (passed.argmax(axis=1) + 1) * every, np.inf)
        found[f"{loss:.0%}"] = {
            "median": float(np.median(requests)),
            "nine_of_ten": float(np.quantile(requests, 0.9, method="higher")),
        }
    return {
        "level": level,
        "false_rollbacks": float((less_reward(*equal.counts) >= limit).any(axis=1).mean()),
        "false_rollbacks_at_5_percent": float((less_reward(*few.counts) >= limit).any(axis=1).mean()),
        "false_rollbacks_of_a_fixed_test": float((equal.fixed_p_values < level).any(axis=1).mean()),
        f"false_promotions_of_a_{MARGIN:.0%}_loss": float(
            (kept_reward(*worse.counts, MARGIN) >= limit).any(axis=1).mean()
        ),
        "requests_of_both_arms_until_a_loss_is_found": found,
        "how": f"{rollouts:,} rollouts, {LOOKS} looks at each, {REWARD:.0%} of answers liked, half of the "
        "requests to the canary",
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures(), indent=2) + "\n")
