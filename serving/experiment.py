"""A/B tests: what each predictor of the manifest got at its fixed weight, beside the first one.

Intervals are for one look, at the end: the more often a test is looked at, the more often one of them
excludes what is true. A rollout, which looks all the time, decides by ``serving.evidence``.
"""

from dataclasses import dataclass
from datetime import datetime
from math import hypot

from scipy import stats

from serving import runtime
from serving.arms import prediction_log_reader
from serving.decision import Arm
from serving.settings import ServingSettings

CONFIDENCE = 0.95


class ExperimentError(RuntimeError):
    """There is nothing to compare; the message names the remedy."""


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval (Wilson, "Probable Inference", 1927)."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class ArmReport:
    """One predictor of an A/B test."""

    predictor: str
    weight: int
    """Percent of the traffic, by the manifest."""

    requests: int
    errors: Share | None
    latency_p95_ms: float | None
    reward: Share | None
    """Share of the users with a proper answer who liked one; None where there was no proper answer."""

    reward_gain: Share | None
    """Reward less that of the first predictor (Newcombe, "Interval Estimation for the Difference", 1998)."""


def report(settings: ServingSettings, since: datetime) -> list[ArmReport]:
    """Compare the predictors of the applied manifest by the prediction log and the feedback since then.

    Raises:
        ExperimentError: fewer than two predictors answer users.
    """
    deployment = runtime.applied(settings)
    weights = deployment.weights if deployment else {}
    if len(weights) < 2:
        raise ExperimentError(
            f"{len(weights)} predictors answer users: apply a manifest with weights for two or more"
        )
    read = prediction_log_reader(settings)
    first, *others = weights
    arms: dict[str, Arm] = {}
    for other in others:
        arms[first], arms[other] = read(first, other, since)
    return [_report(name, weight, arms[name], arms[first]) for name, weight in weights.items()]


def _report(name: str, weight: int, arm: Arm, first: Arm) -> ArmReport:
    reward, base = _share(arm.hits, arm.trials), _share(first.hits, first.trials)
    return ArmReport(
        predictor=name,
        weight=weight,
        requests=arm.requests,
        errors=_share(arm.errors, arm.requests),
        latency_p95_ms=arm.latency_p95_ms,
        reward=reward,
        reward_gain=_difference(reward, base) if reward and base and arm is not first else None,
    )


def _share(count: int, total: int) -> Share | None:
    if not total:
        return None
    low, high = stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="wilson")
    return Share(count / total, (float(low), float(high)))


def _difference(one: Share, other: Share) -> Share:
    (low, high), (other_low, other_high) = one.interval, other.interval
    value = one.value - other.value
    return Share(
        value,
        (
            value - hypot(one.value - low, other_high - other.value),
            value + hypot(high - one.value, other.value - other_low),
        ),
    )
