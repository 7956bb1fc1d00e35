"""Rewards per predictor for Prometheus, under the names that Seldon gives them."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily
from seldon_core.metrics import (
    DEFAULT_LABELS,
    FEEDBACK_KEY,
    FEEDBACK_METRIC_METHOD_TAG,
    FEEDBACK_REWARD_KEY,
)

from serving.feedback.ledger import Ledger

LABELS = ("deployment_name", "model_name", "predictor_name", "method")


class RewardMetrics:
    """Stands in for the SDK's ``SeldonMetrics``.

    That one counts a message before it is checked and each time it comes, forgets all at a restart, and knows
    one predictor, which it runs in; here one component counts for all of them, by the ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def update_reward(self, reward: float) -> None:
        """Do nothing: the SDK calls this before the component has looked at the message."""

    def update(self, custom_metrics: list[dict[str, Any]], method: str) -> None:
        """Do nothing: the component gives the SDK no metrics of its own."""

    def collect(self) -> Iterator[Metric]:
        """Give the counters as Prometheus reads them."""
        self._ledger.refresh()
        count = CounterMetricFamily(FEEDBACK_KEY, "Rentals that users gave feedback to", labels=LABELS)
        sums = CounterMetricFamily(FEEDBACK_REWARD_KEY, "Sum of their rewards, from 0 to 1", labels=LABELS)
        for predictor, total in self._ledger.totals().items():
            labels = {
                **DEFAULT_LABELS,
                "predictor_name": predictor,
                "method": FEEDBACK_METRIC_METHOD_TAG,
            }
            values = [labels[name] for name in LABELS]
            count.add_metric(values, total.rentals)
            sums.add_metric(values, total.reward)
        yield from (count, sums)

    def generate_metrics(self) -> tuple[str, str]:
        """Return the text for Prometheus and its media type."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry).decode(), CONTENT_TYPE_LATEST
