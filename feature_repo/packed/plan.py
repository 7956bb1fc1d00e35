"""What a request for features means, worked out once: which views, which keys, which places."""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from feast import FeatureService, FeatureView, RepoConfig
from feast.protos.feast.types.Value_pb2 import ValueType as WireType
from feast.value_type import ValueType

from feature_repo.packed.codec import Layout
from feature_repo.packed.database import name_of
from feature_repo.packed.keys import prefix
from feature_repo.packed.response import Asked
from feature_repo.packed.rows import layout_of_view

INT64_RANGE = range(-(1 << 63), 1 << 63)
_PYTHON = {ValueType.STRING: str, ValueType.INT64: int}


class Table(NamedTuple):
    """A view as it is stored."""

    name: str
    """Its name in the database."""

    layout: Layout
    ttl: float
    """Microseconds for which its values are shown; infinite without a limit."""


@dataclass(frozen=True)
class Part:
    """One view of a request."""

    table: Table
    asked: Asked
    join_keys: Sequence[str]
    prefix: bytes

    def keys(self, entities: Mapping[str, Sequence[Any]]) -> list[bytes]:
        """Serialized entity keys of the rows."""
        if len(self.join_keys) == 1:
            start = self.prefix
            return [start + _value(value) for value in entities[self.join_keys[0]]]
        columns = [entities[name] for name in self.join_keys]
        return [self.prefix + b"".join(map(_value, row)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Plan:
    """One request that was seen before."""

    state: datetime | None
    """When Feast last read its registry: as long as this is the same object, the plan is right."""

    types: Mapping[str, ValueType]
    """Feast's type by join key."""

    parts: Sequence[Part]
    """Nothing where Feast's own path has to answer."""

    def entities(self, rows: Any) -> dict[str, Sequence[Any]] | None:
        """Values by join key, or None where Feast's own path has to read them."""
        if not self.parts or not rows:
            return None
        types = self.types
        columns: dict[str, Sequence[Any]]
        if isinstance(rows, list):
            first = rows[0]
            if first.keys() != types.keys():
                return None
            if len(rows) == 1:
                columns = {name: [value] for name, value in first.items()}
            else:
                if any(row.keys() != types.keys() for row in rows):
                    return None
                columns = {name: [row[name] for row in rows] for name in first}
        else:
            if rows.keys() != types.keys() or not all(isinstance(values, list) for values in rows.values()):
                return None
            columns = dict(rows)
            if not all(columns.values()) or len({len(values) for values in columns.values()}) != 1:
                return None
        for name, values in columns.items():
            wanted = _PYTHON[types[name]]
            for value in values:
                if type(value) is not wanted or (wanted is int and value not in INT64_RANGE):
                    return None
        return columns


def table_of(config: RepoConfig, view: FeatureView) -> Table:
    """The stored view, in the layout in which its values are written today."""
    ttl: timedelta | None = getattr(view, "ttl", None)
    return Table(
        name_of(config, view), layout_of_view(view), ttl.total_seconds() * 1_000_000 if ttl else math.inf
    )


def plan_of(
    config: RepoConfig,
    state: datetime | None,
    context: Any,
    features: list[str] | FeatureService,
    full_feature_names: bool,
) -> Plan:
    """The plan of a request.

    Args:
        config: the store's configuration.
        state: when Feast last read its registry.
        context: what ``feast.utils._get_cached_request_context`` says of it.
        features: the features as asked for.
        full_feature_names: whether features are named with their view.
    """
    _, on_demand, join_key_of_entity, type_of_join_key, _, grouped, _, request_data, no_entity = context
    join_keys = [sorted(join_key_of_entity[entity] for entity in view.entities) for view, _ in grouped]
    types = {name: type_of_join_key.get(name, ValueType.UNKNOWN) for names in join_keys for name in names}
    plain = (
        not on_demand
        and not request_data
        and not no_entity
        and not getattr(features, "precompute_online", False)
        and all(value_type in _PYTHON for value_type in types.values())
        and all(
            not view.projection.join_key_map and getattr(view.projection, "version_tag", None) is None
            for view, _ in grouped
        )
    )
    if not plain:
        return Plan(state, types, ())
    parts = []
    for (view, requested), names in zip(grouped, join_keys, strict=True):
        table = table_of(config, view)
        asked = Asked(view, table.layout, requested, full_feature_names)
        parts.append(Part(table, asked, names, prefix(names)))
    return Plan(state, types, parts)


def _value(value: str | int) -> bytes:
    if type(value) is str:
        stored = value.encode()
        return struct.pack("<II", WireType.STRING, len(stored)) + stored
    return struct.pack("<IIq", WireType.INT64, 8, value)
