"""Figures of parts that run and end, until Prometheus asks for them."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from monitoring.batch_metrics import FOLDER, LAST_RUN, PublishedMetrics, publish
from monitoring.settings import MonitoringSettings


@pytest.fixture
def settings(tmp_path: Path) -> MonitoringSettings:
    return MonitoringSettings(home=tmp_path / "a home")


def shown(settings: MonitoringSettings) -> dict[tuple[str, str], float]:
    """What the exporter shows: value by name and the value of the only label."""
    registry = CollectorRegistry()
    registry.register(PublishedMetrics(settings))
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_each_part_tells_its_last_run_and_when_it_was(settings: MonitoringSettings) -> None:
    publish("one", [CounterMetricFamily("ones", "Of one", 1)], settings)
    publish("one", [CounterMetricFamily("ones", "Of one", 2)], settings)
    publish("two", [GaugeMetricFamily("two", 'Of "two"\nlines', 3)], settings)

    found = shown(settings)
    assert (found["ones_total", ""], found["two", ""]) == (2, 3)
    assert found[LAST_RUN, "two"] >= found[LAST_RUN, "one"] > 1.7e9
    assert found["rentals_batch_damaged_files", ""] == 0
    assert {path.name for path in (settings.home / FOLDER).iterdir()} == {"one.prom", "two.prom"}


def test_before_the_first_run_there_is_nothing(settings: MonitoringSettings) -> None:
    assert shown(settings) == {("rentals_batch_damaged_files", ""): 0}


@example(b'{x="", ="1')
@given(
    content=st.one_of(st.binary(), st.text('abc{}="#\\\n 1.', max_size=40).map(str.encode)),
)
def test_whatever_lies_in_a_file_the_others_are_shown(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    settings = MonitoringSettings(home=tmp_path_factory.mktemp("home"))
    publish("good", [GaugeMetricFamily("rentals_good", "Good", 1)], settings)
    (settings.home / FOLDER / "bad.prom").write_bytes(content)

    assert shown(settings)["rentals_good", ""] == 1


def test_a_damaged_file_is_counted(settings: MonitoringSettings) -> None:
    publish("good", [], settings)
    (settings.home / FOLDER / "bad.prom").write_text("# HELP half\nrentals_ha")

    assert shown(settings)["rentals_batch_damaged_files", ""] == 1


@contextmanager
def gateway(status: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A Pushgateway's address, and the paths and bodies that it was sent."""
    pushed: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            pushed.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", pushed
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pods_push_what_they_cannot_leave_behind(settings: MonitoringSettings) -> None:
    with gateway(200) as (url, pushed):
        publish(
            "drift",
            [GaugeMetricFamily("two", "Of two", 3)],
            settings.model_copy(update={"pushgateway_url": url}),
        )

    ((path, body),) = pushed
    assert path == "/metrics/job/rentals-batch/part/drift"
    assert "\ntwo 3.0\n" in body and f'{LAST_RUN}{{part="drift"}}' in body
    assert not settings.home.exists()


def test_figures_that_nobody_takes_stop_nothing_and_tell_no_secret(
    settings: MonitoringSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.home.write_text("a file where a folder should be")
    with gateway(500) as (url, pushed):
        for address in ("", url, "http://user:secret@127.0.0.1:1", "ftp://secret"):
            publish("drift", [], settings.model_copy(update={"pushgateway_url": address}))

    assert len(pushed) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 4
    assert "'drift' are not told: HTTPError (RENTALS_PUSHGATEWAY_URL)" in caplog.text
    assert "secret" not in caplog.text
