"""The packed value: a stamp, the schema's fingerprint, a null bitmap, numbers of fixed width, and bytes.

::

    event time   8  microseconds since 1970, as an unsigned big-endian number: times compare as their bytes do
    created      8  the same; 0 where nobody said it
    part         1  1 if the value is part of a materialization, 0 if it is a truth of its own
    fingerprint  8  of the names and types in the view's order
    nulls        (features + 7) / 8, the first feature in the lowest bit
    cells        a number each, or the length (4) of what has one
    bytes        what has a length, one after the other

Encoding works on whole Arrow columns; decoding is one ``struct`` call and a slice per string.
"""

import hashlib
import json
import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from feature_repo.packed.kinds import Cell, kind_of

STAMP_BYTES = 16
"""Event and creation time: what decides which of two values is the newer one."""

PART = STAMP_BYTES
"""Where a value says that it is part of a materialization: 1 there, 0 for a truth of its own."""

FINGERPRINT = slice(PART + 1, PART + 9)
"""Where it names the schema by which it was written."""

EPOCH = 1 << 63
"""Added to microseconds, so that times before 1970 sort below the later ones."""

UNKNOWN_CREATION = -EPOCH
"""Creation time of a value that has none: older than any."""


class Layout:
    """Where each feature of one schema lies in a packed value."""

    def __init__(self, schema: Sequence[tuple[str, ValueType]]) -> None:
        self.schema = tuple(schema)
        self.names = [name for name, _ in schema]
        self.kinds = [kind_of(value_type) for _, value_type in schema]
        self.document = json.dumps([[name, value_type.name] for name, value_type in schema]).encode()
        self.fingerprint = hashlib.blake2b(self.document, digest_size=8).digest()
        bitmap = (len(self.schema) + 7) // 8
        cells = "".join(kind.code or "I" for kind in self.kinds)
        self._struct = struct.Struct(f">QQ?8s{bitmap}s{cells}")
        self._record = np.dtype(
            [
                ("event", ">u8"),
                ("created", ">u8"),
                ("part", "?"),
                ("fingerprint", "S8"),
                ("nulls", "u1", bitmap),
            ]
            + [(f"cell{at}", f">{kind.code or 'I'}") for at, kind in enumerate(self.kinds)]
        )
        self._no_nulls = bytes(bitmap)
        self._lengthy = [(at, kind.from_bytes) for at, kind in enumerate(self.kinds) if not kind.code]

    @classmethod
    def of_document(cls, document: bytes) -> "Layout":
        """The layout whose ``document`` this is."""
        return layout_of(tuple((name, ValueType[value_type]) for name, value_type in json.loads(document)))

    def encode(
        self, columns: Sequence[pa.Array], event: np.ndarray, created: np.ndarray | None, part: bool
    ) -> list[bytes]:
        """Packed values of rows.

        Args:
            columns: one per feature, in the schema's order and of its kind's Arrow type.
            event: event times, int64 microseconds.
            created: creation times, int64 microseconds; None where there are none.
            part: whether the rows are part of a materialization.
        """
        rows = len(event)
        record = np.zeros(rows, self._record)
        record["event"] = event.view("u8") ^ np.uint64(EPOCH)
        record["created"] = 0 if created is None else created.view("u8") ^ np.uint64(EPOCH)
        record["part"] = part
        # NumPy cuts zeros at the end of a byte string when it is read, not in memory.
        record["fingerprint"] = self.fingerprint
        nulls = np.zeros((rows, len(columns)), bool)
        tails = []
        for at, (kind, column) in enumerate(zip(self.kinds, columns, strict=True)):
            if column.null_count:
                nulls[:, at] = column.is_null().to_numpy(zero_copy_only=False)
            if kind.code:
                filled = column.fill_null(False if kind.code == "?" else 0) if column.null_count else column
                record[f"cell{at}"] = filled.to_numpy(zero_copy_only=False)
            else:
                tail = _bytes(column, kind.item)
                record[f"cell{at}"] = np.diff(_offsets(tail))
                tails.append(tail)
        record["nulls"] = np.packbits(nulls, axis=1, bitorder="little")
        heads = fixed(record)
        if not tails:
            return heads.to_pylist()
        return join([heads, *tails]).to_pylist()

    def decode(self, value: bytes) -> tuple[int, list[Cell]]:
        """Event time in microseconds since 1970, and cells in the schema's order."""
        event, _, _, _, nulls, *cells = self._struct.unpack_from(value)
        offset = self._struct.size
        for at, from_bytes in self._lengthy:
            end = offset + cells[at]
            cells[at] = from_bytes(value[offset:end])
            offset = end
        if nulls != self._no_nulls:
            for at in _places(nulls):
                cells[at] = None
        return event - EPOCH, cells


@lru_cache(maxsize=1024)
def layout_of(schema: tuple[tuple[str, ValueType], ...]) -> Layout:
    """The layout of a schema: names and Feast types in the view's order."""
    return Layout(schema)


def column_of(column: pa.Array, value_type: ValueType) -> pa.Array:
    """A column as its kind's Arrow type, with null for NaN, as Feast's own conversion does it.

    Raises:
        TypeError, ValueError: from Feast's conversion, where the column does not fit the type.
    """
    kind = kind_of(value_type)
    plain = kind.field and not (kind.item and column.flatten().null_count)
    if plain:
        try:
            if value_type is ValueType.UNIX_TIMESTAMP and pa.types.is_timestamp(column.type):
                return pc.floor_temporal(column, unit="second").cast(pa.timestamp("s")).cast(pa.int64())
            if pa.types.is_floating(column.type):
                column = pc.if_else(pc.is_nan(column), None, column)
            if pa.types.is_list(column.type) == bool(kind.item) and value_type not in _BY_FEAST:
                return column.cast(kind.arrow)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    values = python_values_to_proto_values(column.to_numpy(zero_copy_only=False), value_type)
    return pa.array([kind.stored(value) for value in values], kind.arrow)


_BY_FEAST = {ValueType.UNIX_TIMESTAMP_LIST, ValueType.UNIX_TIMESTAMP}
"""Types whose columns Feast reads in more ways than Arrow's cast does."""


def fixed(records: np.ndarray) -> pa.Array:
    """NumPy items as binary strings of their width, without a copy of their own."""
    width = records.dtype.itemsize
    contents = pa.py_buffer(np.ascontiguousarray(records))
    return pa.Array.from_buffers(pa.binary(width), len(records), [None, contents]).cast(pa.binary())


def join(parts: "Sequence[pa.Array | pa.Scalar]") -> pa.Array:
    """Binary strings put together row by row; null is nothing."""
    return pc.binary_join_element_wise(
        *parts, pa.scalar(b"", pa.binary()), null_handling="replace", null_replacement=b""
    )


def lengths(column: pa.Array) -> np.ndarray:
    """Lengths of binary strings as uint32, 0 for null."""
    return np.diff(_offsets(column)).astype("<u4")


def _bytes(column: pa.Array, item: str) -> pa.Array:
    """Strings and arrays as binary strings, empty for null."""
    if not item:
        column = column.cast(pa.binary())
        return column.fill_null(b"") if column.null_count else column
    if column.null_count:
        column = column.fill_null([])
    offsets = _offsets(column).astype(np.int64) * np.dtype(item).itemsize
    items = column.values.to_numpy(zero_copy_only=False).tobytes()
    return pa.Array.from_buffers(
        pa.binary(), len(column), [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(items)]
    )


def _offsets(column: pa.Array) -> np.ndarray:
    offsets = np.frombuffer(column.buffers()[1], np.int32)
    return offsets[column.offset : column.offset + len(column) + 1]


@lru_cache(maxsize=4096)
def _places(nulls: bytes) -> tuple[int, ...]:
    bits = np.unpackbits(np.frombuffer(nulls, np.uint8), bitorder="little")
    return tuple(np.flatnonzero(bits).tolist())
