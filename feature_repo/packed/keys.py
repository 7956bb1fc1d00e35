"""Entity keys as Feast serializes them (version 3), for whole Arrow columns and for Python values."""

import struct
from collections.abc import Mapping, Sequence

import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import ValueType as WireType
from feast.value_type import ValueType

from feature_repo.packed.codec import fixed, join, lengths

_NUMBERS = {
    ValueType.INT32: (WireType.INT32, pa.int32(), "<i4"),
    ValueType.INT64: (WireType.INT64, pa.int64(), "<i8"),
    ValueType.UNIX_TIMESTAMP: (WireType.UNIX_TIMESTAMP, pa.int64(), "<i8"),
}
_BYTES = {ValueType.STRING: WireType.STRING, ValueType.BYTES: WireType.BYTES}


def prefix(join_keys: Sequence[str]) -> bytes:
    """What a serialized key begins with: the names of the sorted join keys."""
    names = [name.encode() for name in join_keys]
    return struct.pack("<I", len(names)) + b"".join(
        struct.pack("<II", WireType.STRING, len(name)) + name for name in names
    )


def keys_of(table: pa.RecordBatch, join_keys: Mapping[str, ValueType]) -> list[bytes]:
    """Serialized entity keys of a batch's rows.

    Raises:
        ValueError: a key is null, or its type cannot be a key.
    """
    names = sorted(join_keys)
    parts: list[pa.Array | pa.Scalar] = [pa.scalar(prefix(names), pa.binary())]
    for name in names:
        parts.extend(_parts(name, table.column(name), join_keys[name]))
    if len(parts) == 1:
        return [prefix(names)] * table.num_rows
    return join(parts).to_pylist()


def _parts(name: str, column: pa.Array, value_type: ValueType) -> list[pa.Array | pa.Scalar]:
    if column.null_count:
        raise ValueError(f"{column.null_count} rows have no {name}: remove rows without an entity")
    if value_type in _BYTES:
        stored = column.cast(pa.string()) if value_type is ValueType.STRING else column
        stored = stored.cast(pa.binary())
        wire = pa.scalar(struct.pack("<I", _BYTES[value_type]), pa.binary())
        return [wire, fixed(lengths(stored)), stored]
    if value_type not in _NUMBERS:
        raise ValueError(
            f"join key {name} is of {value_type.name}: Feast's keys are strings, bytes or integers"
        )
    wire_type, arrow, item = _NUMBERS[value_type]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s"), safe=False)
    numbers = column.cast(arrow).to_numpy().astype(item)
    return [pa.scalar(struct.pack("<II", wire_type, numbers.dtype.itemsize), pa.binary()), fixed(numbers)]
