"""What rollouts decided, for Prometheus."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from serving.decision_log import Action, LoggedDecision
from serving.seldon import FULL_TRAFFIC


def rollout_metrics(decisions: Sequence[LoggedDecision]) -> Iterator[Metric]:
    """Give the figures of the decisions so far, oldest first; there is at least one."""
    counted = Counter(one.action for one in decisions)
    times = {one.action: one.at.timestamp() for one in decisions}
    total = CounterMetricFamily("rentals_rollout_decisions", "Decisions of rollouts", labels=("action",))
    latest = GaugeMetricFamily(
        "rentals_rollout_last_decision_timestamp_seconds",
        "When an action was decided last; 0 for never",
        labels=("action",),
    )
    for action in Action:
        total.add_metric((action,), counted[action])
        latest.add_metric((action,), times.get(action, 0))
    yield from (total, latest)
    last = decisions[-1]
    yield GaugeMetricFamily(
        "rentals_rollout_canary_weight_ratio",
        "Share of the traffic that the running rollout gives its canary; 0 where none is running",
        last.share / FULL_TRAFFIC if last.action is Action.START else 0,
    )
