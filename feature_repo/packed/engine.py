"""Materialization from Spark into a packed store by Arrow batches, with flat memory in the driver."""

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Literal

import pyarrow as pa
from feast import FeatureView
from feast.infra.common.materialization_job import (
    MaterializationJob,
    MaterializationJobStatus,
    MaterializationTask,
)
from feast.infra.compute_engines.spark.compute import SparkComputeEngine, SparkComputeEngineConfig
from feast.infra.compute_engines.spark.job import SparkMaterializationJob
from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkRetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.utils import _get_column_names, _run_pyarrow_field_mapping

from feature_repo.packed.database import OnlineStoreError
from feature_repo.packed.store import PackedOnlineStore

ENGINE: Literal["feature_repo.packed.engine.PackedComputeEngine"] = (
    "feature_repo.packed.engine.PackedComputeEngine"
)

ATTEMPTS = 3
"""How often a view is written anew when the store lost values meanwhile."""


class PackedComputeEngineConfig(SparkComputeEngineConfig):
    """The engine needs no setting of its own."""

    type: Literal["feature_repo.packed.engine.PackedComputeEngine"] = ENGINE  # type: ignore[assignment]
    """Class of the engine."""


class PackedComputeEngine(SparkComputeEngine):
    """Feast's Spark engine; plain views go into a packed store as the offline store's latest rows."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, *args: Any, **kwargs: Any
    ) -> MaterializationJob:
        view = task.feature_view
        computed = getattr(view, "aggregations", None) or getattr(view, "feature_transformation", None)
        plain = type(view) is FeatureView and not view.offline and not computed
        if not plain or not isinstance(self.online_store, PackedOnlineStore):
            return super()._materialize_one(registry, task, *args, **kwargs)
        name = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            if view.online:
                self._fill(self.online_store, registry, task)
        except Exception as error:
            return SparkMaterializationJob(job_id=name, status=MaterializationJobStatus.ERROR, error=error)
        return SparkMaterializationJob(job_id=name, status=MaterializationJobStatus.SUCCEEDED)

    def _fill(self, store: PackedOnlineStore, registry: BaseRegistry, task: MaterializationTask) -> None:
        view = task.feature_view
        for _ in range(ATTEMPTS):
            filling = store.begin(self.repo_config, view)
            # While one table is written, Spark's next one is taken: two at most are in memory.
            with closing(self._rows(registry, task)) as tables, ThreadPoolExecutor(1) as writer:
                written: Future[int] | None = None
                for table in tables:
                    if written:
                        written.result()
                    written = writer.submit(
                        store.online_write_table, self.repo_config, view, table, part=True
                    )
                if written:
                    written.result()
            if store.complete(self.repo_config, view, filling):
                return
        raise OnlineStoreError(
            f"the online store lost values of {view.name} during each of {ATTEMPTS} materializations: "
            "see why it restarts or is emptied, then run the same again"
        )

    def _rows(self, registry: BaseRegistry, task: MaterializationTask) -> Generator[pa.Table]:
        """The rows of the task's time as the offline store pulls them.

        By default, as in Feast's own engines, that is all of them. There another step in Spark picks the
        latest of each entity, which costs a shuffle; here the store's rule picks them as they arrive.
        """
        view = task.feature_view
        source: Any = view.batch_source
        entities = [registry.get_entity(name, task.project, allow_cache=True) for name in view.entities]
        join_keys, features, event, created = _get_column_names(view, entities)
        if self.repo_config.materialization_config.pull_latest_features:
            pull = self.offline_store.pull_latest_from_table_or_query
        else:
            pull = self.offline_store.pull_all_from_table_or_query
        job = pull(
            config=self.repo_config,
            data_source=source,
            join_key_columns=join_keys,
            feature_name_columns=features,
            timestamp_field=event,
            created_timestamp_column=created,
            start_date=task.start_time,
            end_date=task.end_time,
        )
        if isinstance(job, SparkRetrievalJob):
            yield from _batches(job.to_spark_df())
        else:
            yield _run_pyarrow_field_mapping(job.to_arrow(), source.field_mapping or {})


def _batches(frame: Any) -> Generator[pa.Table]:
    """The frame's rows as they are ready, in any order.

    ``DataFrame.toArrow`` reads the same stream, but holds all of it before it returns.
    """
    from pyspark.sql.pandas.serializers import ArrowCollectSerializer
    from pyspark.util import _load_from_socket

    port, secret, server = frame._jdf.collectAsArrowToPython()
    try:
        for batch in _load_from_socket((port, secret), ArrowCollectSerializer()):
            # After the batches comes their order, which does not matter here.
            if isinstance(batch, pa.RecordBatch):
                yield pa.Table.from_batches([batch])
    except GeneratorExit:
        # Whoever reads has failed: Spark would wait for ever for its rows to be taken.
        return
    except Exception:
        _result(server)
        raise
    _result(server)


def _result(server: Any) -> None:
    """Wait for Spark's side of the stream, whose error says more than that the stream broke."""
    from pyspark.errors.exceptions.captured import unwrap_spark_exception

    with unwrap_spark_exception():
        server.getResult()
