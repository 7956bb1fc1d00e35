"""Where events come from: files of JSON lines, or Kafka; a Spark query brings them to the engine."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from feature_repo.settings import FeatureSettings
from feature_repo.stream import StreamError, inbox
from feature_repo.stream.engine import Engine
from feature_repo.stream.events import Line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

BYTES_AT_ONCE = 16_000_000
"""What a micro-batch reads at most, but for a single larger file: about 80,000 events."""

EVENTS_AT_ONCE = 80_000
"""The same for Kafka."""

FOREVER = "36500d"
"""Spark ignores files that are older than this beside the newest one; by default a week, without a word."""

BATCHES_A_CHECKPOINT = 5_000
"""Micro-batches after which a checkpoint of the inbox is given up: Spark keeps the name of each file that it
ever read and writes all of them again every ten batches. What is read is in the engine's memory."""


def is_kafka(settings: FeatureSettings) -> bool:
    """Whether events come from Kafka."""
    return bool(settings.stream_url)


def checkpoint(settings: FeatureSettings) -> Path:
    """Where Spark remembers how far it has read."""
    return settings.home / "stream" / "checkpoint"


def discard(settings: FeatureSettings, engine: Engine) -> None:
    """Forget how far Spark has read the inbox, where nothing depends on it; offsets of Kafka are kept."""
    if not is_kafka(settings) and engine.is_settled():
        shutil.rmtree(checkpoint(settings), ignore_errors=True)


def start(spark: "SparkSession", settings: FeatureSettings, engine: Engine) -> "StreamingQuery":
    """Start the query that brings each micro-batch to ``engine``.

    Raises:
        StreamError: the connector of Kafka is missing, or the address is wrong.
    """
    folder = checkpoint(settings)
    if not (folder / "metadata").exists():
        engine.forget_batch()

    def bring(batch: "DataFrame", number: int) -> None:
        name = f"{json.loads((folder / 'metadata').read_text())['id']}:{number}"
        if engine.is_done(name):
            return
        table = batch.toArrow()
        # Spark writes a file's name as in an address: with %20 for a space.
        places = [unquote(place) for place in table["place"].to_pylist()]
        lines = [Line(text, place) for text, place in zip(table["text"].to_pylist(), places, strict=True)]
        files = {} if is_kafka(settings) else dict(zip(places, table["version"].to_pylist(), strict=True))
        try:
            engine.process(name, lines, files)
        except Exception as error:
            # What Spark says of it is a stack trace of two languages.
            engine.failure = error
            raise

    lines = _kafka(spark, settings) if is_kafka(settings) else _files(spark, settings)
    return (
        lines.coalesce(1)
        .writeStream.foreachBatch(bring)
        .option("checkpointLocation", str(folder))
        .trigger(processingTime=f"{round(settings.stream_trigger_seconds * 1000)} milliseconds")
        .start()
    )


def _files(spark: "SparkSession", settings: FeatureSettings) -> "DataFrame":
    folder = inbox.folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    return (
        spark.readStream.format("text")
        .option("lineSep", "\n")
        .option("maxBytesPerTrigger", BYTES_AT_ONCE)
        .option("maxFileAge", FOREVER)
        .load(str(folder))
        # As bytes: text that is not UTF-8 must not end the stream.
        .selectExpr(
            "CAST(value AS BINARY) AS text",
            "_metadata.file_name AS place",
            "concat(_metadata.file_size, ':', unix_millis(_metadata.file_modification_time)) AS version",
        )
    )


def _kafka(spark: "SparkSession", settings: FeatureSettings) -> "DataFrame":
    from pyspark.errors import AnalysisException

    address = urlsplit(settings.stream_url)
    topic = address.path.strip("/")
    if (
        address.scheme != "kafka"
        or not address.hostname
        or "@" in address.netloc
        or not topic
        or "/" in topic
    ):
        raise StreamError(
            "RENTALS_STREAM_URL is no address of a topic: give kafka://HOST:PORT/TOPIC, or nothing for the "
            f"files in {inbox.folder(settings)}"
        )
    try:
        messages = (
            spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", address.netloc)
            .option("subscribe", topic)
            .option("startingOffsets", "earliest")
            .option("maxOffsetsPerTrigger", EVENTS_AT_ONCE)
            .load()
        )
    except AnalysisException as error:
        raise StreamError(
            "Spark has no connector for Kafka: set RENTALS_SPARK_PACKAGES="
            f"org.apache.spark:spark-sql-kafka-0-10_2.13:{spark.version}"
        ) from error
    # A message without a value, which Kafka calls a tombstone, says nothing.
    return messages.selectExpr(
        "coalesce(value, X'') AS text", "concat_ws(':', topic, partition, offset) AS place"
    )
