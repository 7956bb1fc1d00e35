"""Whether a canary is promoted, held or rolled back: one pure function of what was seen of both arms."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy import stats

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

    latencies_ms: list[float] = field(default_factory=list)
    """Latency of each proper answer."""

    predicted_ratings: list[float] = field(default_factory=list)
    """Predicted ratings of the recommended rentals (1..5)."""

    hits: int = 0
    """Proper answers that users liked."""

    trials: int = 0
    """Proper answers that users could have liked."""


@dataclass(frozen=True)
class Decision:
    """A verdict, why, and the figures behind it."""

    verdict: Verdict
    reasons: list[str]
    figures: dict[str, float]


def decide(champion: Arm, canary: Arm, thresholds: DecisionThresholds) -> Decision:
    """Compare a canary with the champion.

    Failures are compared by Fisher's exact test, so are rewards; latencies by their 95th percentile;
    predicted ratings by the Kolmogorov-Smirnov distance, an effect which does not grow with the requests.
    Every reason for a rollback is named. Failures count at once, everything else from
    ``minimum_requests`` answers of the canary.
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
    return Decision(Verdict.PROMOTE, [f"{canary.requests} requests without a regression"], figures)


def _figures(champion: Arm, canary: Arm) -> dict[str, float]:
    """Every comparison that the samples allow."""
    figures: dict[str, float] = {"champion_requests": champion.requests, "canary_requests": canary.requests}
    for name, arm in (("champion", champion), ("canary", canary)):
        if arm.requests:
            figures[f"{name}_error_share"] = arm.errors / arm.requests
        if arm.latencies_ms:
            figures[f"{name}_latency_p95_ms"] = float(np.percentile(arm.latencies_ms, 95))
        if arm.trials:
            figures[f"{name}_reward_share"] = arm.hits / arm.trials
    if champion.requests and canary.requests:
        figures["error_p_value"] = _fisher(
            canary.errors, canary.requests, champion.errors, champion.requests, "greater"
        )
    if champion.trials and canary.trials:
        figures["reward_p_value"] = _fisher(
            canary.hits, canary.trials, champion.hits, champion.trials, "less"
        )
    if champion.predicted_ratings and canary.predicted_ratings:
        # The asymptotic method: only the distance is used, and the exact p-value is slow.
        test = stats.ks_2samp(champion.predicted_ratings, canary.predicted_ratings, method="asymp")
        figures["rating_distance"] = float(test.statistic)
    return figures


def _fisher(hits: int, trials: int, other_hits: int, other_trials: int, alternative: str) -> float:
    table = [[hits, trials - hits], [other_hits, other_trials - other_hits]]
    return float(stats.fisher_exact(table, alternative=alternative).pvalue)


def _failures(
    canary: Arm, figures: dict[str, float], thresholds: DecisionThresholds, enough: bool
) -> list[str]:
    reasons = []
    share = figures.get("canary_error_share", 0.0)
    if share > thresholds.hard_failure_share and (enough or canary.errors >= thresholds.hard_failures):
        reasons.append(f"{share:.1%} of answers failed, above {thresholds.hard_failure_share:.1%}")
    if enough and figures.get("error_p_value", 1.0) < thresholds.error_significance:
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
    if figures.get("reward_p_value", 1.0) < thresholds.reward_significance:
        shares = figures["canary_reward_share"], figures["champion_reward_share"]
        reasons.append(f"{shares[0]:.1%} of answers were liked, significantly below {shares[1]:.1%}")
    return reasons
