"""Settings of the feature store, read from ``RENTALS_…`` environment variables."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]


class FeatureSettings(BaseSettings):
    """Where features live and how they are computed."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_")

    home: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".rentals"
    """Folder of everything that a run writes; a relative one is below the working folder."""

    spark_master: str = "local[2]"
    """Spark master: ``local[N]`` on a laptop, ``spark://…`` or ``k8s://…`` on a cluster."""

    spark_driver_memory: str = "2g"
    """Heap of the Spark driver, in the JVM's notation."""

    spark_shuffle_partitions: int = 4
    """Partitions of a Spark shuffle; a small multiple of the cores."""

    online_store_url: str = ""
    """Online features: ``redis://HOST:PORT``, ``postgresql://…``, or empty for SQLite under ``home``."""

    @property
    def lake(self) -> Path:
        """Folder of the parquet tables."""
        return self.home / "lake"
