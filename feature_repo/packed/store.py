"""What all packed stores share: encoding, reading, last write wins, wholeness; a database adds five primitives."""

import asyncio
import math
import os
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, RepoConfig, utils
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel

from feature_repo.packed import codec
from feature_repo.packed.codec import FINGERPRINT, MISSING, PART, STAMP_BYTES, Layout, layout_of
from feature_repo.packed.keys import keys_of
from feature_repo.packed.plan import Plan, plan_of
from feature_repo.packed.response import UNKNOWN, Answer, Found, PackedResponse, append, moment

T = TypeVar("T")
Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]

MARK = b"mark"
"""Key of a view's mark. No entity key is like it: they begin with a count of join keys, and a length each."""

SCHEMA = b"schema:"
"""Before a fingerprint: key of a schema by which values were written."""

FILLING, WHOLE = b"filling:", b"whole:"
"""What a mark begins with, before the random identity that a view's values get when they begin."""

ROWS_AT_ONCE = 10_000
"""Rows of one write: some megabytes, and a database's writers wait for each other no longer than that takes."""

FUTURE_SECONDS = 3600
"""How far ahead of this machine's clock an event may be. A value of the far future would win over all that follow."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds before a write is tried again: doubled each time, up to the longest."""


class OnlineStoreError(RuntimeError):
    """The online store does not answer or lost what was written; the message names the remedy."""


class PackedConfig(FeastConfigBaseModel):
    """What every packed store can be told in ``feature_store.yaml``."""

    retry_seconds: float = 30.0
    """How long a write is tried again while the store is away or busy."""


@dataclass(frozen=True)
class Filling:
    """A view's values as a materialization found them: if they are others at its end, some were lost."""

    mark: bytes
    epoch: str


class PackedOnlineStore(OnlineStore):
    """One packed value per entity and view.

    A database keeps, for each view, byte keys with byte values, and provides the primitives below. Each is atomic.
    """

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}
        self._layouts: dict[tuple[str, bytes], Layout] = {}

    @abstractmethod
    def _read(self, config: RepoConfig, view: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Values of keys, all as of one moment; None where there is none, also where the view has no table."""

    @abstractmethod
    def _write(self, config: RepoConfig, view: str, values: Mapping[bytes, bytes]) -> int:
        """Write values that are new, or differ and have a stamp not below the old one's; return how many."""

    @abstractmethod
    def _swap(self, config: RepoConfig, view: str, key: bytes, old: bytes | None, new: bytes) -> bool:
        """Replace a value if it is ``old`` (None: if there is none); say whether it was."""

    @abstractmethod
    def _drop(self, config: RepoConfig, views: Sequence[str]) -> None:
        """Forget all values of views."""

    @abstractmethod
    def _place(self, config: RepoConfig) -> str:
        """Where the store is, for messages; without a password."""

    @abstractmethod
    def _passes(self, error: Exception) -> bool:
        """Whether the same write may succeed later."""

    def _epoch(self, config: RepoConfig) -> str:
        """What changes when the database may have lost confirmed writes."""
        return ""

    def begin(self, config: RepoConfig, view: FeatureView) -> Filling:
        """Say that a materialization begins; ``complete`` wants what this returns."""
        name = _name(config, view)

        def mark() -> Filling:
            epoch = self._epoch(config)
            found = self._read(config, name, [MARK])[0]
            if found is None:
                found = FILLING + os.urandom(16)
                if not self._swap(config, name, MARK, None, found):
                    raise OnlineStoreError(f"another materialization of {view.name} began just now: try again")
            return Filling(found, epoch)

        return self._persist(config, f"marking {view.name}", mark)

    def complete(self, config: RepoConfig, view: FeatureView, filling: Filling) -> bool:
        """Make a view readable as whole; False if values may have been lost since ``begin``."""
        name = _name(config, view)
        identity = filling.mark.partition(b":")[2]

        def mark() -> bool:
            if self._epoch(config) != filling.epoch:
                return False
            whole = WHOLE + identity
            return self._read(config, name, [MARK])[0] == whole or self._swap(
                config, name, MARK, FILLING + identity, whole
            )

        return self._persist(config, f"marking {view.name}", mark)

    def online_write_table(
        self, config: RepoConfig, feature_view: FeatureView, table: pa.Table, part: bool = False
    ) -> int:
        """Write an Arrow table: the fast way in.

        Args:
            config: the store's configuration.
            feature_view: the view to write to.
            table: columns are the join keys, the source's timestamp field (UTC where it has no zone), its created
                timestamp where it has one, and every feature.
            part: whether the rows are part of a materialization that ``begin`` announced.

        Returns:
            How many values were new or changed.

        Raises:
            ValueError: a column is missing or does not fit, a key or time is null, a time is in the far future.
            OnlineStoreError: the store did not answer for ``retry_seconds``.
        """
        layout = _layout(feature_view)
        join_keys = {column.name: column.dtype.to_value_type() for column in feature_view.entity_columns}
        if DUMMY_ENTITY_ID in join_keys and DUMMY_ENTITY_ID not in table.column_names:
            table = table.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * len(table), pa.string()))
        source = feature_view.batch_source
        mapping = source.field_mapping or {}
        event = mapping.get(source.timestamp_field, source.timestamp_field)
        created = mapping.get(source.created_timestamp_column, source.created_timestamp_column)
        wanted = [*join_keys, event, *layout.names]
        if missing := [name for name in wanted if name not in table.column_names]:
            raise ValueError(f"rows for {feature_view.name} have no column {', '.join(missing)}: a row is written whole")
        written = 0
        for batch in table.combine_chunks().to_batches(max_chunksize=ROWS_AT_ONCE):
            columns = [codec.column_of(batch.column(name), value_type) for name, value_type in layout.schema]
            values = layout.encode(
                columns,
                _microseconds(batch.column(event), feature_view.name),
                _creation(batch.column(created)) if created and created in batch.schema.names else None,
                part,
            )
            written += self._write_rows(config, feature_view, layout, keys_of(batch, join_keys), values)
        return written

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows of protobufs, each a truth of its own: what ``push`` and ``write_to_online_store`` call."""
        layout = _layout(table)
        for start in range(0, len(data), ROWS_AT_ONCE):
            rows = data[start : start + ROWS_AT_ONCE]
            if missing := {name for _, features, _, _ in rows for name in layout.names if name not in features}:
                raise ValueError(
                    f"rows for {table.name} lack {', '.join(sorted(missing))}: a row is written whole, give null"
                )
            columns = [
                pa.array([kind.cell(features[name]) for _, features, _, _ in rows], kind.arrow)
                for name, kind in zip(layout.names, layout.kinds, strict=True)
            ]
            values = layout.encode(
                columns,
                _microseconds(pa.array([_utc(event) for _, _, event, _ in rows]), table.name),
                _creation(pa.array([created and _utc(created) for _, _, _, created in rows], _TIME)),
                part=False,
            )
            keys = [serialize_entity_key(key, config.entity_key_serialization_version) for key, _, _, _ in rows]
            self._write_rows(config, table, layout, keys, values)
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
        layout = _layout(table)
        wanted = [
            (name, place, kind)
            for place, (name, kind) in enumerate(zip(layout.names, layout.kinds, strict=True))
            if requested_features is None or name in requested_features
        ]
        return [
            (
                moment(row.event),
                None
                if row.cells is None
                else {name: kind.proto(row.cells[at]) for name, at, kind in wanted if row.cells[at] is not MISSING},
            )
            for row in self._find(config, table, layout, _keys(config, entity_keys))
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
            context = utils._get_cached_request_context(registry, project, features, full_feature_names)
            plan = self._plans.get(id(context))
            if plan is None or plan.context is not context:
                if len(self._plans) > 1000:
                    self._plans.clear()
                plan = self._plans[id(context)] = plan_of(context, features, full_feature_names)
            entities = plan.entities(entity_rows)
            if entities is not None:
                answers = [
                    Answer(part.names, part.places, part.layout, self._find(config, part.view, part.layout, keys))
                    for part, keys in ((part, part.keys(entities)) for part in plan.parts)
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
            layout = _layout(view)
            unique, places, rows = utils._get_unique_entities(view, join_key_values, entity_name_to_join_key_map)
            found = self._find(config, view, layout, _keys(config, utils._get_entity_key_protos(unique)))
            spread = [UNKNOWN] * rows
            for row, targets in zip(found, places, strict=True):
                for target in targets:
                    spread[target] = row
            shown = view.projection.name_to_use()
            names = [f"{shown}__{name}" if full_feature_names else name for name in requested]
            if include_feature_view_version_metadata:
                utils._populate_response_from_feature_data(
                    [], [], [], online_features_response, full_feature_names, view, rows, True
                )
            append(
                online_features_response,
                Answer(names, [layout.names.index(name) for name in requested], layout, spread),
            )

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
        self._drop(config, [_name(config, view) for view in tables_to_delete])

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Forget the values of all views."""
        self._drop(config, [_name(config, view) for view in tables])

    def _find(self, config: RepoConfig, view: FeatureView, layout: Layout, keys: Sequence[bytes]) -> list[Found]:
        name = _name(config, view)
        mark, *values = self._read(config, name, [MARK, *keys])
        whole = mark is not None and mark.startswith(WHOLE)
        ttl = getattr(view, "ttl", None)
        oldest = (time.time() - ttl.total_seconds()) * 1_000_000 if ttl else -math.inf
        found = []
        for value in values:
            if value is None or not (whole or value[PART] == 0):
                found.append(UNKNOWN)
                continue
            if value[FINGERPRINT] == layout.fingerprint:
                event, cells = layout.decode(value)
            else:
                event, cells = self._decode_other(config, name, layout, value)
            found.append(Found(cells if event >= oldest else None, event))
        return found

    def _decode_other(
        self, config: RepoConfig, name: str, layout: Layout, value: bytes
    ) -> tuple[int, tuple[Any, ...]]:
        """A value of another schema: what it has of the asked one, by name and type."""
        printed = value[FINGERPRINT]
        written_by = self._layouts.get((name, printed))
        if written_by is None:
            document = self._read(config, name, [SCHEMA + printed])[0]
            if document is None:
                raise OnlineStoreError(
                    f"a value of {name} at {self._place(config)} names a schema that is not there: "
                    "tear the view down and materialize it again"
                )
            written_by = self._layouts[name, printed] = Layout.of_document(document[STAMP_BYTES:])
        event, cells = written_by.decode(value)
        known = dict(zip(written_by.schema, cells, strict=True))
        return event, tuple(known.get(feature, MISSING) for feature in layout.schema)

    def _write_rows(
        self, config: RepoConfig, view: FeatureView, layout: Layout, keys: list[bytes], values: list[bytes]
    ) -> int:
        name = _name(config, view)
        latest = dict(zip(keys, values, strict=True))
        if len(latest) < len(keys):
            latest = {}
            for key, value in zip(keys, values, strict=True):
                old = latest.get(key)
                if old is None or old[:STAMP_BYTES] <= value[:STAMP_BYTES]:
                    latest[key] = value
        # The schema goes along each time: a store that lost everything has it again with the first value.
        schema = {SCHEMA + layout.fingerprint: bytes(STAMP_BYTES) + layout.document}
        return self._persist(
            config, f"writing {view.name}", lambda: self._write(config, name, schema | latest)
        )

    def _persist(self, config: RepoConfig, doing: str, action: Callable[[], T]) -> T:
        """Do something that may be done twice, until the store answers or ``retry_seconds`` are over."""
        deadline = time.monotonic() + config.online_store.retry_seconds
        pause = FIRST_PAUSE
        while True:
            try:
                return action()
            except Exception as error:
                if not self._passes(error):
                    raise
                if time.monotonic() + pause > deadline:
                    raise OnlineStoreError(
                        f"{doing}: the online store at {self._place(config)} has failed for "
                        f"{config.online_store.retry_seconds:g} s ({error}). What was written stays: start the store, "
                        "then run the same again"
                    ) from error
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


_TIME = pa.timestamp("us", "UTC")


def _name(config: RepoConfig, view: FeatureView) -> str:
    return f"{config.project}/{view.name}"


def _layout(view: FeatureView) -> Layout:
    return layout_of(tuple((field.name, field.dtype.to_value_type()) for field in view.features))


def _keys(config: RepoConfig, entity_keys: Sequence[EntityKey]) -> list[bytes]:
    return [serialize_entity_key(key, config.entity_key_serialization_version) for key in entity_keys]


def _measured() -> bool:
    """Whether Feast counts reads and statuses, which only its own path does."""
    metrics = sys.modules.get("feast.metrics")
    return metrics is not None and metrics._config.online_features


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _creation(column: pa.Array) -> np.ndarray:
    unknown = pa.scalar(codec.UNKNOWN_CREATION, pa.int64())
    return column.cast(_TIME, safe=False).cast(pa.int64()).fill_null(unknown).to_numpy()


def _microseconds(column: pa.Array, view: str) -> np.ndarray:
    if column.null_count:
        raise ValueError(f"{column.null_count} rows for {view} have no event time: every value is as of a time")
    times = column.cast(_TIME, safe=False).cast(pa.int64()).to_numpy()
    if len(times) and times.max() > (time.time() + FUTURE_SECONDS) * 1_000_000:
        raise ValueError(
            f"a row for {view} is of {moment(int(times.max()))}, in the future, and would win over all that follow: "
            "mend the source's clock or time zone"
        )
    return times
