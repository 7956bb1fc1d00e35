"""Whether a canary is promoted, held or rolled back: one pure function of what was seen of both arms."""

from dataclasses import dataclass, field
from enum import StrEnum
from math import log

from scipy import stats

from serving.evidence import kept_reward, less_reward, log_evidence
from serving.settings import DecisionThresholds


class Verdict(StrEnum):
    """What to do with a canary."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class Arm:
    """What was seen of one predictor since the step began."""

    requests: int
    """Attempts, failed ones among them."""

    errors: int
    """Attempts that gave no answer which could be shown."""

    latency_p95_ms: float | None = None
    """95th percentile of the latencies of proper answers; None where there are none."""

    predicted_ratings: list[float] = field(default_factory=list)
    """Predicted ratings of the recommended rentals (1..5)."""

    hits: int = 0
    """Users who liked an answer."""

    trials: int = 0
    """Users who got a proper answer."""


@dataclass(frozen=True)
class Decision:
    """A verdict, why, and the figures behind it."""

    verdict: Verdict
    reasons: list[str]
    figures: dict[str, float]


def decide(champion: Arm, canary: Arm, thresholds: DecisionThresholds) -> Decision:
    """Compare a canary with the champion.

    Failures and rewards are compared by evidence that holds at every look (``serving.evidence``), latencies
    by their 95th percentile, predicted ratings by the Kolmogorov-Smirnov distance, an effect which does not
    grow with the requests. Every reason for a rollback is named. Failures count at once, everything else
    from ``minimum_requests`` answers of the canary. With a ``reward_margin``, the canary is held until the
    rewards show that no more than it is lost.

    Args:
        champion: what was seen of it in the same time.
        canary: the same of the canary.
        thresholds: limits and levels; a rollout of several steps divides the levels among them.
    """
    figures = _figures(champion, canary)
    enough = canary.requests >= thresholds.minimum_requests
    reasons = _failures(canary, figures, thresholds, enough)
    if enough:
        reasons += _regressions(canary, figures, thresholds)
    if reasons:
        return Decision(Verdict.ROLLBACK, reasons, figures)
    if not enough:
        reason = f"{canary.requests} of {thresholds.minimum_requests} requests seen"
        return Decision(Verdict.HOLD, [reason], figures)
    margin = thresholds.reward_margin
    if margin is not None and not _keeps_reward(champion, canary, margin, thresholds.reward_significance):
        reason = f"a loss of {margin:.0%} of the reward is not ruled out yet"
        return Decision(Verdict.HOLD, [reason], figures)
    return Decision(Verdict.PROMOTE, [f"{canary.requests} requests without a regression"], figures)


def _figures(champion: Arm, canary: Arm) -> dict[str, float]:
    """Every comparison that the samples allow."""
    figures: dict[str, float] = {"champion_requests": champion.requests, "canary_requests": canary.requests}
    for name, arm in (("champion", champion), ("canary", canary)):
        if arm.requests:
            figures[f"{name}_error_share"] = arm.errors / arm.requests
        if arm.latency_p95_ms is not None:
            figures[f"{name}_latency_p95_ms"] = arm.latency_p95_ms
        if arm.trials:
            figures[f"{name}_reward_share"] = arm.hits / arm.trials
    if champion.requests and canary.requests:
        figures["error_evidence"] = _more_failures(champion, canary)
    if champion.trials and canary.trials:
        figures["reward_evidence"] = float(less_reward(*_rewards(champion, canary)))
    if champion.predicted_ratings and canary.predicted_ratings:
        # The asymptotic method: only the distance is used, and the exact p-value is slow.
        test = stats.ks_2samp(champion.predicted_ratings, canary.predicted_ratings, method="asymp")
        figures["rating_distance"] = float(test.statistic)
    return figures


def _more_failures(champion: Arm, canary: Arm) -> float:
    """Log evidence that a failure falls to the canary more often than a request does."""
    share = canary.requests / (champion.requests + canary.requests)
    return float(log_evidence(canary.errors, champion.errors + canary.errors, share))


def _rewards(champion: Arm, canary: Arm) -> tuple[int, int, int, int]:
    return champion.hits, champion.trials, canary.hits, canary.trials


def _keeps_reward(champion: Arm, canary: Arm, margin: float, level: float) -> bool:
    """Whether the rewards show that the canary gets more than ``1 - margin`` times the champion's share."""
    if not (canary.trials and champion.trials):
        return False
    return bool(kept_reward(*_rewards(champion, canary), margin) >= -log(level))


def _failures(
    canary: Arm, figures: dict[str, float], thresholds: DecisionThresholds, enough: bool
) -> list[str]:
    reasons = []
    share = figures.get("canary_error_share", 0.0)
    if share > thresholds.hard_failure_share and (enough or canary.errors >= thresholds.hard_failures):
        reasons.append(f"{share:.1%} of answers failed, above {thresholds.hard_failure_share:.1%}")
    if enough and figures.get("error_evidence", 0.0) >= -log(thresholds.error_significance):
        champion_share = figures["champion_error_share"]
        reasons.append(
            f"{share:.1%} of answers failed, significantly above the champion's {champion_share:.1%}"
        )
    return reasons


def _regressions(canary: Arm, figures: dict[str, float], thresholds: DecisionThresholds) -> list[str]:
    reasons = []
    old, new = figures.get("champion_latency_p95_ms"), figures.get("canary_latency_p95_ms")
    if (
        old is not None
        and new is not None
        and new > old * thresholds.latency_ratio
        and new - old > thresholds.latency_floor_ms
    ):
        reasons.append(f"95 % of answers within {new:.0f} ms, the champion's within {old:.0f} ms")
    if (distance := figures.get("rating_distance", 0.0)) > thresholds.rating_distance:
        limit = thresholds.rating_distance
        reasons.append(f"predicted ratings lie {distance:.2f} from the champion's, above {limit:.2f}")
    if figures.get("reward_evidence", 0.0) >= -log(thresholds.reward_significance):
        shares = figures["canary_reward_share"], figures["champion_reward_share"]
        reasons.append(f"{shares[0]:.1%} of users liked an answer, significantly below {shares[1]:.1%}")
    return reasons
