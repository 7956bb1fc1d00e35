"""Settings of the feature store, read from ``RENTALS_…`` environment variables."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]


class FeatureSettings(BaseSettings):
    """Where features live and how they are computed."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_")

    home: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".rentals"
    """Folder of everything that a run writes; a relative one is below the working folder."""

    spark_master: str = "local[2]"
    """Spark master: ``local[N]`` on a laptop, ``spark://…`` or ``k8s://…`` on a cluster."""

    spark_driver_host: str = "127.0.0.1"
    """Address at which Spark's executors reach the driver: that of its machine or pod, on a cluster."""

    spark_python: str = ""
    """Path of Python 3.11 with this project's packages where executors run; empty: the same as here."""

    spark_conf: dict[str, str] = {}
    """Further properties of Spark, as JSON: ``{"spark.executor.memory": "4g"}``. Nothing secret."""

    spark_driver_memory: str = "2g"
    """Heap of the Spark driver, in the JVM's notation."""

    spark_shuffle_partitions: int = 4
    """Partitions of a Spark shuffle; a small multiple of the cores."""

    online_store_url: str = ""
    """Online features: ``redis://HOST:PORT``, ``redis+cluster://HOST:PORT`` (any server of the cluster),
    ``postgresql://…``, or empty for SQLite under ``home``."""

    feast_registry_url: str = Field("", pattern="^((postgres(ql)?|sqlite)://.*)?$")
    """What is registered with Feast: ``postgresql://USER@HOST/DATABASE`` where several machines write it, or
    ``sqlite:////FILE``; empty for a file under ``home``. Feast loads functions from it: who may write there
    runs code here."""

    spark_packages: str = ""
    """Maven coordinates that Spark loads at its start, with commas between: a Kafka connector, ``s3a``."""

    stream_url: str = ""
    """Where events come from: ``kafka://HOST:PORT/TOPIC``; empty for the files in ``home/stream/inbox``."""

    stream_trigger_seconds: float = Field(0.2, gt=0)
    """Time between two micro-batches of the stream, if the work of one does not take longer."""

    stream_landing_seconds: float = Field(60, gt=0)
    """Longest wait of an event for the lake: less means more and smaller files."""

    feast_ui_port: int = Field(0, ge=0, le=65535)
    """Port of Feast's user interface; 0 takes a free one."""

    @property
    def lake(self) -> Path:
        """Folder of the parquet tables."""
        return self.home / "lake"
