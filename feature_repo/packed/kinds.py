"""How a Feast type lies in a packed value: of fixed width, as bytes, as an array, or as Feast's protobuf."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import NULL_TIMESTAMP_INT_VALUE, feast_value_type_to_python_type
from feast.value_type import ValueType

Cell = Any
"""What a value holds for a feature: a number, string, bytes, list, or Feast's ``Value``; None for null."""


@dataclass(frozen=True)
class Kind:
    """One way to store a feature."""

    field: str
    """Feast's protobuf field of this type; empty where the whole protobuf is stored."""

    arrow: pa.DataType
    """The column type that the encoder takes."""

    code: str = ""
    """``struct`` code of a number of fixed width; empty for what has a length."""

    item: str = ""
    """NumPy type of an array's items; empty for what is no array."""

    from_bytes: Callable[[bytes], Cell] = bytes
    """Cell from the stored bytes of something with a length."""

    to_python: Callable[[Cell], Any] | None = None
    """What ``OnlineResponse.to_dict`` shows of a cell, where that is not the cell itself."""

    def stored(self, value: Value) -> Any:
        """What a column of the encoder holds for a protobuf.

        Raises:
            TypeError: the protobuf holds another type.
        """
        found = value.WhichOneof("val")
        if found is None:
            return None
        if not self.field:
            return value.SerializeToString()
        if found != self.field:
            raise TypeError(f"a value of {found} was written to a feature of {self.field}: convert it first")
        stored = getattr(value, found)
        if self.item:
            # Arrow takes no booleans for the bytes that they are stored as.
            return [int(item) for item in stored.val] if self.item == "?" else list(stored.val)
        return None if self.field == "unix_timestamp_val" and stored == NULL_TIMESTAMP_INT_VALUE else stored

    def proto(self, cell: Cell) -> Value:
        """The protobuf of a cell."""
        if cell is None:
            return Value()
        if not self.field:
            return cell
        if not self.item:
            return Value(**{self.field: cell})
        value = Value()
        getattr(value, self.field).val.extend(cell)
        return value


def _array(item: str) -> Callable[[bytes], list[Any]]:
    dtype = np.dtype(item)
    return lambda stored: np.frombuffer(stored, dtype).tolist()


def _time(seconds: int) -> datetime | None:
    return None if seconds == NULL_TIMESTAMP_INT_VALUE else datetime.fromtimestamp(seconds, tz=UTC)


def _times(seconds: list[int]) -> list[datetime | None]:
    return [_time(second) for second in seconds]


def _text(stored: bytes) -> str:
    return str(stored, "utf8")


_BYTES = Kind("bytes_val", pa.binary())
_PROTOBUF = Kind("", pa.binary(), from_bytes=Value.FromString, to_python=feast_value_type_to_python_type)

_KINDS = {
    ValueType.INT32: Kind("int32_val", pa.int32(), code="i"),
    ValueType.INT64: Kind("int64_val", pa.int64(), code="q"),
    ValueType.FLOAT: Kind("float_val", pa.float32(), code="f"),
    ValueType.DOUBLE: Kind("double_val", pa.float64(), code="d"),
    ValueType.BOOL: Kind("bool_val", pa.bool_(), code="?"),
    ValueType.UNIX_TIMESTAMP: Kind("unix_timestamp_val", pa.int64(), code="q", to_python=_time),
    ValueType.STRING: Kind("string_val", pa.string(), from_bytes=_text),
    ValueType.BYTES: _BYTES,
    ValueType.PDF_BYTES: _BYTES,
    ValueType.IMAGE_BYTES: _BYTES,
}
for _type, _field, _arrow, _item in (
    (ValueType.INT32_LIST, "int32_list_val", pa.int32(), "<i4"),
    (ValueType.INT64_LIST, "int64_list_val", pa.int64(), "<i8"),
    (ValueType.FLOAT_LIST, "float_list_val", pa.float32(), "<f4"),
    (ValueType.DOUBLE_LIST, "double_list_val", pa.float64(), "<f8"),
):
    _KINDS[_type] = Kind(_field, pa.list_(_arrow), item=_item, from_bytes=_array(_item))
_KINDS[ValueType.BOOL_LIST] = Kind("bool_list_val", pa.list_(pa.uint8()), item="?", from_bytes=_array("?"))
_KINDS[ValueType.UNIX_TIMESTAMP_LIST] = Kind(
    "unix_timestamp_list_val", pa.list_(pa.int64()), item="<i8", from_bytes=_array("<i8"), to_python=_times
)


def kind_of(value_type: ValueType) -> Kind:
    """The kind of a Feast type; types without one of their own are stored as Feast's protobuf."""
    return _KINDS.get(value_type, _PROTOBUF)
