"""The running stream: one process per home, from its start to a clean stop."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from feature_repo.spark import session
from feature_repo.stream import StreamError, inbox, source
from feature_repo.stream.engine import Engine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TICK_SECONDS = 0.25
"""Time between two looks at the clock and at the query."""

REPORT_SECONDS = 10.0


def run(settings: FeatureSettings, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Stream until ``stop`` is set, and land what was accepted.

    Raises:
        StreamError: another process streams into the same home, or Spark's query failed.
    """
    with _alone(settings):
        engine = Engine(settings)
        spark = session(settings)
        say(f"reading {'Kafka' if source.is_kafka(settings) else inbox.folder(settings)}")
        try:
            while not stop.is_set():
                source.discard(settings, engine)
                _query(settings, engine, spark, stop, say)
        finally:
            engine.close()
            say("stopped; everything accepted is in the lake")


def _query(
    settings: FeatureSettings,
    engine: Engine,
    spark: "SparkSession",
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    """One query of Spark, until it is asked to stop or has read enough files for its checkpoint."""
    engine.resume()
    query = source.start(spark, settings, engine)
    reported = time.monotonic()
    try:
        while query.isActive and not stop.is_set():
            if not engine.tick():
                stop.wait(TICK_SECONDS)
            if time.monotonic() - reported >= REPORT_SECONDS:
                reported = time.monotonic()
                say(engine.summary())
            progress = query.lastProgress
            if (
                progress
                and not source.is_kafka(settings)
                and progress["batchId"] >= source.BATCHES_A_CHECKPOINT
            ):
                break
        failure = query.exception()
    finally:
        engine.pause()
        query.stop()
    if failure is not None:
        cause = engine.failure or failure
        raise StreamError(
            f"the stream stopped: {str(cause).splitlines()[0]}; nothing is lost: start it again when that is "
            "mended"
        ) from cause


@contextmanager
def _alone(settings: FeatureSettings) -> Iterator[None]:
    lock = ExitStack()
    try:
        lock.enter_context(lake.exclusive(settings.home / "stream" / "run"))
    except lake.LakeError as error:
        raise StreamError(f"another process streams into {settings.home}: stop it first") from error
    with lock:
        yield
