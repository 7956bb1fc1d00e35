"""Feast's online store over packed values; what a database adds is in ``database``."""

import asyncio
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, RepoConfig, utils
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.packed.codec import FINGERPRINT, PART, STAMP_BYTES, Layout
from feature_repo.packed.database import MARK, WHOLE, OnlineStoreError, PackedDatabase, name_of
from feature_repo.packed.plan import Plan, Table, plan_of, table_of
from feature_repo.packed.response import UNKNOWN, Answer, Asked, Found, PackedResponse, append, moment
from feature_repo.packed.rows import Row, from_batch, from_protobufs, layout_of_view

SCHEMA = b"schema:"
"""Before a fingerprint: key of a schema by which values were written."""

ROWS_AT_ONCE = 10_000
"""Rows encoded and written at once: some megabytes."""

PLANS = 1_000
"""Requests whose plan is kept; with more, all are worked out again."""


class PackedOnlineStore(OnlineStore, PackedDatabase):
    """One packed value per entity and view."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str | tuple[str, ...], str, bool], Plan] = {}
        self._layouts: dict[tuple[str, bytes], Layout] = {}

    def online_write_table(
        self, config: RepoConfig, feature_view: FeatureView, table: pa.Table, part: bool = False
    ) -> int:
        """Write an Arrow table: the fast way in.

        Args:
            config: the store's configuration.
            feature_view: the view to write to.
            table: columns are the join keys, the source's timestamp field (UTC where it has no zone), its
                created timestamp where it has one, and every feature.
            part: whether the rows are part of a materialization that ``begin`` announced.

        Returns:
            How many values were new or changed.

        Raises:
            ValueError: a column is missing or does not fit, a key or time is null, a time is in the future.
            OnlineStoreError: the database did not answer for ``retry_seconds``.
        """
        batches = table.combine_chunks().to_batches(max_chunksize=ROWS_AT_ONCE)
        return sum(
            self._put(config, feature_view, from_batch(feature_view, batch, part)) for batch in batches
        )

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows of protobufs: what ``push`` and ``write_to_online_store`` call."""
        for start in range(0, len(data), ROWS_AT_ONCE):
            rows = data[start : start + ROWS_AT_ONCE]
            self._put(config, table, from_protobufs(config, table, rows))
            if progress:
                progress(len(rows))

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """As ``online_write_batch``, in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Values as protobufs, a row per key; None for an unknown or stale one."""
        stored = table_of(config, table)
        wanted = [
            (name, place, kind)
            for place, (name, kind) in enumerate(zip(stored.layout.names, stored.layout.kinds, strict=True))
            if requested_features is None or name in requested_features
        ]
        return [
            (
                moment(row.event),
                None
                if row.cells is None
                else {
                    name: kind.proto(row.cells[place])
                    for name, place, kind in wanted
                    if place not in row.lacks
                },
            )
            for row in self._find(config, stored, _keys(config, entity_keys))
        ]

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """As ``online_read``, in a thread."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def get_online_features(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        entity_rows: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Feast's read; requests for plain views by strings or integers are answered without a protobuf."""
        if not include_feature_view_version_metadata and not _measured():
            plan = self._plan(config, features, registry, project, full_feature_names)
            entities = plan.entities(entity_rows)
            if entities is not None:
                answers = [
                    Answer(part.asked, self._find(config, part.table, part.keys(entities)))
                    for part in plan.parts
                ]
                return PackedResponse(entities, plan.types, answers)
        return super().get_online_features(
            config,
            features,
            entity_rows,
            registry,
            project,
            full_feature_names,
            include_feature_view_version_metadata,
        )

    async def get_online_features_async(self, *args: Any, **kwargs: Any) -> OnlineResponse:
        """As ``get_online_features``, in a thread."""
        return await asyncio.to_thread(self.get_online_features, *args, **kwargs)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Forget deleted views; new ones get their place with the first write."""
        self.drop(config, [name_of(config, view) for view in tables_to_delete])

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Forget the values of all views."""
        self.drop(config, [name_of(config, view) for view in tables])

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[Any],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Feast's own path reads through this: it knows no status but found and not found, so it is ours."""
        for view, requested in grouped_refs:
            table = table_of(config, view)
            unique, places, rows = utils._get_unique_entities(
                view, join_key_values, entity_name_to_join_key_map
            )
            found = self._find(config, table, _keys(config, utils._get_entity_key_protos(unique)))
            spread = [UNKNOWN] * rows
            for row, targets in zip(found, places, strict=True):
                for target in targets:
                    spread[target] = row
            # Only for what Feast says besides: the view's version, and counts where they are measured.
            present = sum(row.cells is not None for row in spread)
            _tell_feast(
                view, present, rows - present, include_feature_view_version_metadata, online_features_response
            )
            asked = Asked(view, table.layout, requested, full_feature_names)
            append(online_features_response, Answer(asked, spread))

    def _plan(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool,
    ) -> Plan:
        # By the registry's state, as Feast keeps its own resolution, but not one cache for all stores.
        state = getattr(registry, "cached_registry_proto_created", None)
        names = features.name if isinstance(features, FeatureService) else tuple(features)
        request = names, project, full_feature_names
        plan = self._plans.get(request)
        if plan is None or state is None or plan.state is not state or not registry.is_cache_valid():
            context = utils._get_cached_request_context(registry, project, features, full_feature_names)
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[request] = plan_of(config, state, context, features, full_feature_names)
        return plan

    def _find(self, config: RepoConfig, table: Table, keys: Sequence[bytes]) -> list[Found]:
        name, layout, ttl = table
        mark, *values = self.read(config, name, [MARK, *keys])
        whole = mark is not None and mark.startswith(WHOLE)
        oldest = time.time() * 1_000_000 - ttl
        found = []
        for value in values:
            if value is None or not (whole or value[PART] == 0):
                found.append(UNKNOWN)
                continue
            if value[FINGERPRINT] == layout.fingerprint:
                event, cells = layout.decode(value)
                lacks: Collection[int] = ()
            else:
                event, cells, lacks = self._decode_other(config, name, layout, value)
            found.append(Found(cells if event >= oldest else None, event, lacks))
        return found

    def _decode_other(
        self, config: RepoConfig, name: str, layout: Layout, value: bytes
    ) -> tuple[int, list[Any], set[int]]:
        """Of a value of another schema: event time, the asked cells by name and type, places it lacks."""
        printed = value[FINGERPRINT]
        written_by = self._layouts.get((name, printed))
        if written_by is None:
            document = self.read(config, name, [SCHEMA + printed])[0]
            if document is None:
                raise OnlineStoreError(
                    f"a value of {name} at {self.place(config)} names a schema that is not there: "
                    "tear the view down and materialize it again"
                )
            written_by = self._layouts[name, printed] = Layout.of_document(document[STAMP_BYTES:])
        event, cells = written_by.decode(value)
        known = dict(zip(written_by.schema, cells, strict=True))
        lacks = {place for place, feature in enumerate(layout.schema) if feature not in known}
        return event, [known.get(feature) for feature in layout.schema], lacks

    def _put(self, config: RepoConfig, view: FeatureView, values: Mapping[bytes, bytes]) -> int:
        # The schema goes along each time: a store that lost everything has it again with the first value.
        layout, name = layout_of_view(view), name_of(config, view)
        schema = {SCHEMA + layout.fingerprint: bytes(STAMP_BYTES) + layout.document}
        return self.persist(
            config, f"writing {view.name}", lambda: self.write(config, name, {**schema, **values})
        )


def _keys(config: RepoConfig, entity_keys: Sequence[EntityKey]) -> list[bytes]:
    return [serialize_entity_key(key, config.entity_key_serialization_version) for key in entity_keys]


def _measured() -> bool:
    """Whether Feast counts reads and statuses, which only its own path does."""
    metrics = sys.modules.get("feast.metrics")
    return metrics is not None and metrics._config.online_features


def _tell_feast(
    view: FeatureView, present: int, absent: int, versions: bool, response: GetOnlineFeaturesResponse
) -> None:
    utils._populate_response_from_feature_data([], [], [], response, False, view, 0, versions)
    if _measured():
        from feast.metrics import track_feature_statuses

        track_feature_statuses(view.name, present, absent)
