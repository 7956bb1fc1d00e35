"""Figures of parts that run and end: kept in a file each until the next run, or pushed to a Pushgateway.

Prometheus asks for figures, and a flow is gone by then. On one machine the exporter of the local runtime
shows the files (the textfile convention of Prometheus's node exporter); pods have no common disk, and push.
"""

import logging
import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric, push_to_gateway, write_to_textfile
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from monitoring.settings import MonitoringSettings

FOLDER = "metrics"
"""Below the home: a file per part."""

LAST_RUN = "rentals_batch_last_run_timestamp_seconds"
"""Metric with the time at which a part told its figures last."""

JOB = "rentals-batch"
"""Job under which figures are pushed; the part is the other label of their group."""

PUSH_SECONDS = 10
"""Longest wait for a Pushgateway."""

_logger = logging.getLogger(__name__)


class _Told(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def publish(part: str, metrics: Iterable[Metric], settings: MonitoringSettings | None = None) -> None:
    """Replace what ``part`` has told before by ``metrics``, with the time of now.

    A disk or a Pushgateway that does not take them stops nothing, as no training is worth less than its
    figures: it is logged, and the part's time stands still, which alerts.

    Args:
        part: what has run, as a word; no other part may tell metrics of the same names.
        metrics: its figures.
        settings: the home, and the Pushgateway if there is one; by default from the environment.
    """
    settings = settings or MonitoringSettings()
    last_run = GaugeMetricFamily(LAST_RUN, "When a part told its figures last", labels=("part",))
    last_run.add_metric((part,), time.time())
    registry = CollectorRegistry()
    registry.register(_Told([*metrics, last_run]))
    try:
        if settings.pushgateway_url:
            push_to_gateway(settings.pushgateway_url, JOB, registry, {"part": part}, timeout=PUSH_SECONDS)
        else:
            folder = settings.home / FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            write_to_textfile(str(folder / f"{part}.prom"), registry)
    except (OSError, ValueError) as error:
        # The address may hold a secret: only what failed is told.
        place = "RENTALS_PUSHGATEWAY_URL" if settings.pushgateway_url else settings.home / FOLDER
        _logger.error("figures of %r are not told: %s (%s)", part, type(error).__name__, place)


class PublishedMetrics(Collector):
    """What the parts of a home told last, in one; a file that cannot be read hides no other."""

    def __init__(self, settings: MonitoringSettings) -> None:
        self._folder = settings.home / FOLDER

    def collect(self) -> Iterator[Metric]:
        """Give the figures of all parts."""
        families: dict[str, Metric] = {}
        damaged = 0
        for path in sorted(self._folder.glob("*.prom")):
            try:
                found = list(text_string_to_metric_families(path.read_text()))
            except (OSError, ValueError, IndexError):  # the parser runs past the end of some texts
                damaged += 1
                continue
            for family in found:
                empty = Metric(family.name, family.documentation, family.type)
                families.setdefault(family.name, empty).samples += family.samples
        yield from families.values()
        yield GaugeMetricFamily(
            "rentals_batch_damaged_files", "Files of figures that cannot be read", damaged
        )
