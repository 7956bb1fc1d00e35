"""Rows on their way into a packed store: from Arrow or from protobufs to keys and values."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from feast import FeatureView, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.packed import codec
from feature_repo.packed.codec import Layout, layout_of
from feature_repo.packed.keys import keys_of
from feature_repo.packed.response import moment

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
"""Feast's row: entity, features, event time, creation time."""

FUTURE_SECONDS = 3600
"""How far ahead of this machine's clock an event may be: such a value wins over all that follow."""

_TIME = pa.timestamp("us", "UTC")


def layout_of_view(view: FeatureView) -> Layout:
    """The layout in which a view's values are written today."""
    return layout_of(tuple((field.name, field.dtype.to_value_type()) for field in view.features))


def from_batch(view: FeatureView, batch: pa.RecordBatch, part: bool) -> dict[bytes, bytes]:
    """Values by key of an Arrow batch; of several rows for one entity the newest.

    Raises:
        ValueError: a column is missing or does not fit, a key or time is null, a time is in the future.
    """
    layout, source = layout_of_view(view), view.batch_source
    if source is None:
        raise ValueError(f"{view.name} has no batch source, which says what its columns of time are")
    join_keys = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    if DUMMY_ENTITY_ID in join_keys and DUMMY_ENTITY_ID not in batch.schema.names:
        batch = batch.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * len(batch), pa.string()))
    mapping = source.field_mapping or {}
    event = mapping.get(source.timestamp_field, source.timestamp_field)
    created = mapping.get(source.created_timestamp_column, source.created_timestamp_column)
    if missing := [name for name in (*join_keys, event, *layout.names) if name not in batch.schema.names]:
        raise ValueError(f"rows for {view.name} have no column {', '.join(missing)}: a row is written whole")
    keys = keys_of(batch, join_keys)
    events = _event(batch.column(event), view.name)
    creations = _creation(batch.column(created)) if created and created in batch.schema.names else None
    newest = _newest(keys, events, creations)
    if len(newest) < len(keys):
        # Before the columns are converted: a history has many rows for each entity.
        batch, keys, events = batch.take(newest), [keys[at] for at in newest], events[newest]
        creations = None if creations is None else creations[newest]
    columns = [codec.column_of(batch.column(name), value_type) for name, value_type in layout.schema]
    return dict(zip(keys, layout.encode(columns, events, creations, part), strict=True))


def from_protobufs(config: RepoConfig, view: FeatureView, rows: Sequence[Row]) -> dict[bytes, bytes]:
    """Values by key of Feast's rows, each a truth of its own; of several for one entity the newest.

    Raises:
        ValueError: a feature is missing, or a time is in the future.
        TypeError: a value is not of its feature's type.
    """
    layout = layout_of_view(view)
    if missing := {name for _, features, _, _ in rows for name in layout.names if name not in features}:
        raise ValueError(
            f"rows for {view.name} lack {', '.join(sorted(missing))}: a row is written whole, with nulls"
        )
    version = config.entity_key_serialization_version
    keys = [serialize_entity_key(key, version) for key, _, _, _ in rows]
    events = _event(pa.array([_utc(event) for _, _, event, _ in rows], _TIME), view.name)
    creations = _creation(pa.array([created and _utc(created) for _, _, _, created in rows], _TIME))
    columns = [
        pa.array([kind.stored(features[name]) for _, features, _, _ in rows], kind.arrow)
        for name, kind in zip(layout.names, layout.kinds, strict=True)
    ]
    values = layout.encode(columns, events, creations, part=False)
    return {keys[at]: values[at] for at in _newest(keys, events, creations)}


def _newest(keys: list[bytes], events: np.ndarray, creations: np.ndarray | None) -> np.ndarray:
    """Places of the newest row of each entity; of rows of the same times the last one."""
    if len(set(keys)) == len(keys):
        return np.arange(len(keys))
    order = np.lexsort((events,) if creations is None else (creations, events))
    return np.sort(list({keys[at]: at for at in order}.values()))


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _event(column: pa.Array, view: str) -> np.ndarray:
    if column.null_count:
        raise ValueError(
            f"{column.null_count} rows for {view} have no event time: every value is as of a time"
        )
    times = column.cast(_TIME, safe=False).cast(pa.int64()).to_numpy()
    if len(times) and times.max() > (time.time() + FUTURE_SECONDS) * 1_000_000:
        raise ValueError(
            f"a row for {view} is of {moment(int(times.max()))}, in the future, and would win over all that "
            "follow: mend the source's clock or time zone"
        )
    return times


def _creation(column: pa.Array) -> np.ndarray:
    unknown = pa.scalar(codec.UNKNOWN_CREATION, pa.int64())
    return column.cast(_TIME, safe=False).cast(pa.int64()).fill_null(unknown).to_numpy()
