"""Spark's part of the stream: where it reads, and what it may forget."""

import json
import threading
import time
from datetime import UTC, datetime

import pytest

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from feature_repo.stream import StreamError, inbox, run, source
from tests.feature_repo.stream.conftest import event, lines, marketplace

pytestmark = pytest.mark.slow


def test_without_its_connector_kafka_is_refused_with_the_remedy(spark, stream):
    settings = FeatureSettings(home=stream()._settings.home, stream_url="kafka://127.0.0.1:9092/ratings")
    with pytest.raises(StreamError, match=r"RENTALS_SPARK_PACKAGES=org\.apache\.spark:spark-sql-kafka"):
        source.start(spark, settings, stream())


@pytest.mark.parametrize(
    "url", ["kafka://127.0.0.1:9092", "kafka:///ratings", "ratings", "http://a/b", "kafka://a/b/c"]
)
def test_an_address_that_is_none_is_refused(spark, stream, url):
    settings = FeatureSettings(home=stream()._settings.home, stream_url=url)
    with pytest.raises(StreamError, match="kafka://HOST:PORT/TOPIC"):
        source.start(spark, settings, stream())


def test_what_spark_has_read_is_forgotten_only_where_nothing_is_to_be_repeated(stream, clock, monkeypatch):
    engine = stream()
    folder = source.checkpoint(engine._settings)
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(engine._database, "enter", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.process("1", lines(event("a", clock.now)))
    source.discard(engine._settings, engine)
    assert folder.exists()
    engine.process("1", lines(event("a", clock.now)))
    source.discard(engine._settings.model_copy(update={"stream_url": "kafka://a/b"}), engine)
    assert folder.exists()
    source.discard(engine._settings, engine)
    assert not folder.exists()


def test_it_goes_on_with_a_new_checkpoint_when_one_has_grown(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "BATCHES_A_CHECKPOINT", 1)
    settings = FeatureSettings(home=tmp_path)
    marketplace(settings.lake)
    stop, said, checkpoints, failures = threading.Event(), [], set(), []

    def streaming():
        try:
            run.run(settings, stop, said.append)
        except StreamError as error:
            failures.append(error)

    thread = threading.Thread(target=streaming)
    thread.start()
    sent, deadline = 0, time.monotonic() + 180
    try:
        while len(checkpoints) < 3 and thread.is_alive() and time.monotonic() < deadline:
            inbox.publish(settings, [event(str(sent), datetime.now(UTC))])
            sent += 1
            time.sleep(0.2)
            if (metadata := source.checkpoint(settings) / "metadata").exists():
                checkpoints.add(json.loads(metadata.read_text())["id"])
        while (
            list(inbox.folder(settings).glob("*.jsonl")) and thread.is_alive() and time.monotonic() < deadline
        ):
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join()
    assert not failures
    assert len(checkpoints) >= 3
    assert len(lake.read(settings.lake, "ratings")) == sent
    assert "stopped" in said[-1]
