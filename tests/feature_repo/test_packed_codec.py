"""The packed value and its keys: what goes in comes out, and keys are Feast's."""

import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.packed import codec, keys
from feature_repo.packed.codec import FINGERPRINT, PART, STAMP_BYTES, Layout, layout_of
from feature_repo.packed.plan import _value

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NUMBERS = {
    ValueType.INT32: st.integers(-(2**31), 2**31 - 1),
    ValueType.INT64: st.integers(-(2**63), 2**63 - 1),
    ValueType.FLOAT: st.floats(width=32),
    ValueType.DOUBLE: st.floats(),
    ValueType.BOOL: st.booleans(),
    ValueType.UNIX_TIMESTAMP: st.integers(-(2**40), 2**40),
    ValueType.STRING: st.text(),
    ValueType.BYTES: st.binary(),
}
LISTS = {
    ValueType.INT32_LIST: st.lists(NUMBERS[ValueType.INT32]),
    ValueType.INT64_LIST: st.lists(NUMBERS[ValueType.INT64]),
    ValueType.FLOAT_LIST: st.lists(NUMBERS[ValueType.FLOAT]),
    ValueType.DOUBLE_LIST: st.lists(NUMBERS[ValueType.DOUBLE]),
    ValueType.BOOL_LIST: st.lists(st.booleans()),
    ValueType.UNIX_TIMESTAMP_LIST: st.lists(NUMBERS[ValueType.UNIX_TIMESTAMP]),
}
CELLS = NUMBERS | LISTS
MOMENTS = st.integers(-(2**62), 2**62)


@st.composite
def rows(draw):
    """A schema of any types, and rows of it."""
    types = draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=20))
    cells = st.tuples(*(st.none() | CELLS[value_type] for value_type in types))
    return types, draw(st.lists(cells, min_size=1, max_size=6))


@unhurried
@given(rows(), st.booleans(), st.data())
def test_what_is_encoded_is_decoded(drawn, part, data):
    types, cells = drawn
    layout = Layout([(f"feature {at}", value_type) for at, value_type in enumerate(types)])
    columns = [
        pa.array([kind.stored(kind.proto(row[at])) for row in cells], kind.arrow)
        for at, kind in enumerate(layout.kinds)
    ]
    size = len(cells)
    event = np.array(data.draw(st.lists(MOMENTS, min_size=size, max_size=size)))
    # A slice has an offset into its buffers, as a batch of a larger table has.
    padded = [pa.concat_arrays([column.slice(0, 1), column]).slice(1) for column in columns]
    values = layout.encode(padded, event, None, part)
    for value, row, time in zip(values, cells, event, strict=True):
        found_event, found = layout.decode(value)
        assert found_event == time
        np.testing.assert_equal(found, row)
        assert [type(cell) for cell in found] == [type(cell) for cell in row]
        assert value[PART] == part
        assert value[FINGERPRINT] == layout.fingerprint


@unhurried
@given(MOMENTS, MOMENTS, MOMENTS, MOMENTS)
def test_stamps_sort_as_their_times_do(event, created, other_event, other_created):
    layout = layout_of((("a", ValueType.INT32),))

    def stamp(event, created):
        column = pa.array([1], pa.int32())
        return layout.encode([column], np.array([event]), np.array([created]), False)[0][:STAMP_BYTES]

    assert (stamp(event, created) < stamp(other_event, other_created)) == (
        (event, created) < (other_event, other_created)
    )


def test_a_value_without_creation_time_is_older_than_any_with_one():
    layout = layout_of((("a", ValueType.INT32),))
    column, event = pa.array([1], pa.int32()), np.array([5])
    assert (
        layout.encode([column], event, None, False)[0]
        < layout.encode([column], event, np.array([-9]), False)[0]
    )


def test_the_fingerprint_tells_names_types_and_order_apart():
    schemas = [
        (("a", ValueType.INT32), ("b", ValueType.INT32)),
        (("b", ValueType.INT32), ("a", ValueType.INT32)),
        (("a", ValueType.INT32), ("b", ValueType.INT64)),
        (("a", ValueType.INT32),),
    ]
    assert len({layout_of(schema).fingerprint for schema in schemas}) == len(schemas)
    for schema in schemas:
        assert Layout.of_document(layout_of(schema).document).schema == schema


KEYS = {
    ValueType.STRING: (pa.string(), st.text(), "string_val"),
    ValueType.BYTES: (pa.binary(), st.binary(), "bytes_val"),
    ValueType.INT32: (pa.int32(), NUMBERS[ValueType.INT32], "int32_val"),
    ValueType.INT64: (pa.int64(), NUMBERS[ValueType.INT64], "int64_val"),
}


@unhurried
@given(st.lists(st.sampled_from(list(KEYS)), min_size=0, max_size=3), st.data())
def test_entity_keys_are_those_of_feast(types, data):
    names = ["b_id", "a", "é"][: len(types)]
    cells = data.draw(st.lists(st.tuples(*(KEYS[t][1] for t in types)), min_size=1, max_size=4))
    batch = pa.record_batch(
        {
            name: pa.array([row[at] for row in cells], KEYS[t][0])
            for at, (name, t) in enumerate(zip(names, types, strict=True))
        }
        | {"filler": pa.array([0] * len(cells))}
    )
    found = keys.keys_of(batch, dict(zip(names, types, strict=True)))
    for key, row in zip(found, cells, strict=True):
        values = [Value(**{KEYS[t][2]: cell}) for t, cell in zip(types, row, strict=True)]
        assert key == serialize_entity_key(EntityKey(join_keys=names, entity_values=values), 3)


@unhurried
@given(st.text() | st.integers(-(2**63), 2**63 - 1))
def test_keys_of_requests_are_those_of_feast(value):
    field = "string_val" if isinstance(value, str) else "int64_val"
    expected = serialize_entity_key(EntityKey(join_keys=["id"], entity_values=[Value(**{field: value})]), 3)
    assert keys.prefix(["id"]) + _value(value) == expected


def test_a_null_key_is_an_error():
    with pytest.raises(ValueError, match="1 rows have no id"):
        keys.keys_of(pa.record_batch({"id": pa.array(["a", None])}), {"id": ValueType.STRING})


@pytest.mark.parametrize(
    ("column", "value_type"),
    [
        (pa.array([1, None, 2**31 - 1]), ValueType.INT32),
        (pa.array([1.0, None, float("nan"), float("inf")]), ValueType.FLOAT),
        (pa.array([1.0, 2.0]), ValueType.INT64),
        (pa.array([1, 2]), ValueType.DOUBLE),
        (pa.array([1, 2]), ValueType.STRING),
        (pa.array(["a", "b", None]).dictionary_encode(), ValueType.STRING),
        (pa.array(["a", None], pa.large_string()), ValueType.STRING),
        (
            pa.array([datetime(1969, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 1, 1, 1, 9, UTC)]),
            ValueType.UNIX_TIMESTAMP,
        ),
        (pa.array([datetime(2024, 1, 1)], pa.timestamp("ns")), ValueType.UNIX_TIMESTAMP),
        (pa.array([[1.0, None], None, []]), ValueType.FLOAT_LIST),
        (pa.array([[1, 2], None]), ValueType.INT32_LIST),
        (pa.array([["a", None], None]), ValueType.STRING_LIST),
        (pa.array([None, None]), ValueType.FLOAT),
        (pa.array([None, None]), ValueType.STRING),
        (pa.array(["not a number"]), ValueType.INT64),
        (pa.array([2**40]), ValueType.INT32),
    ],
)
def test_columns_are_converted_as_feast_converts_them(column, value_type):
    kind = codec.kind_of(value_type)
    try:
        wanted = [
            kind.stored(v)
            for v in python_values_to_proto_values(column.to_numpy(zero_copy_only=False), value_type)
        ]
    except (ValueError, TypeError, OverflowError) as error:
        with pytest.raises((type(error), pa.ArrowInvalid)):
            codec.column_of(column, value_type)
        return
    found = codec.column_of(column, value_type)
    assert found.type == kind.arrow
    np.testing.assert_equal(found.to_pylist(), pa.array(wanted, kind.arrow).to_pylist())


def test_large_integers_beside_a_null_keep_their_last_digit():
    column = codec.column_of(pa.array([2**53 + 1, None]), ValueType.INT64)
    assert column.to_pylist() == [2**53 + 1, None]


def test_a_value_of_another_type_is_refused():
    with pytest.raises(TypeError, match="string_val"):
        codec.kind_of(ValueType.FLOAT).stored(Value(string_val="1"))


def test_nan_in_a_protobuf_stays():
    assert math.isnan(codec.kind_of(ValueType.FLOAT).stored(Value(float_val=math.nan)))
