"""Folding sorted rows a chunk at a time gives the same bits as all at once, wherever the chunks end."""

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.names import USER_VIEW
from feature_repo.transforms import batch
from feature_repo.transforms.running import EVENTS, MICROSECONDS_PER_DAY, STATE, State, advance
from feature_repo.views import VIEW_DEFINITIONS

DAY = MICROSECONDS_PER_DAY
USER = next(view for view in VIEW_DEFINITIONS if view.name == USER_VIEW)
SINCE, UNTIL = 18_200 * DAY, 19_000 * DAY
ROWS = pa.schema([*EVENTS, *batch.STATE_FIELDS])

events = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["1", "11", "a", "ü"]),
        "known_at": st.sampled_from(
            [18_000 * DAY, 18_150 * DAY, SINCE - 1, SINCE, SINCE + 1, 18_300 * DAY, 18_400 * DAY]
        ),
        "delay": st.sampled_from([0, 0, 1, 9 * DAY, 100 * DAY]),
        "rating": st.sampled_from([1.0, 2.5, None]),
        "price": st.sampled_from([9.99, None]),
        "capacity": st.sampled_from([4.0, None]),
        "size": st.sampled_from([14.0, None]),
        "category": st.sampled_from(["gown", None]),
        "purpose": st.sampled_from(["work", None]),
        "rental_id": st.sampled_from("abcdefghijklm"),
    }
).map(lambda event: event | {"happened_at": event["known_at"] - event["delay"]})


def ordered(rows, state):
    """Rows as Spark brings them: by key and time, the state of a key before its events."""
    rows = sorted(rows, key=lambda row: (row["key"], row["known_at"]))
    keys = sorted({*state["key"].to_pylist(), *(row["key"] for row in rows)})
    begun = {row["key"]: row for row in state.to_pylist()}
    for key in keys:
        if key in begun:
            yield begun[key]
        yield from (row for row in rows if row["key"] == key)


def fold(rows, sizes):
    """Fold ``rows`` in batches of these sizes, the last of what is left."""
    table = pa.Table.from_pylist(rows, ROWS)
    batches = []
    for size in sizes:
        batches.append(table.slice(0, size))
        table = table.slice(size)
    parts = list(batch.fold_in_order(USER, [*batches, table], UNTIL))
    schema = batch.output_schema(USER)
    found = pa.concat_tables(parts) if parts else schema.empty_table()
    return found.sort_by([("is_state", "ascending"), ("key", "ascending"), ("at", "ascending")])


def state_of(rows):
    past = pa.Table.from_pylist([row for row in rows if row["known_at"] < SINCE], EVENTS)
    return advance(State(), past, SINCE, USER.counted)[1].to_table()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(events, max_size=25),
    st.lists(st.integers(0, 7), max_size=12),
    st.integers(1, 10),
    st.booleans(),
)
def test_chunks_and_batches_may_end_anywhere(rows, sizes, chunk, begun):
    state = state_of(rows) if begun else STATE.empty_table()
    rows = list(ordered([row for row in rows if not begun or row["known_at"] >= SINCE], state))
    whole = fold(rows, [])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batch, "CHUNK_ROWS", chunk)
        assert fold(rows, sizes).equals(whole)


@pytest.mark.parametrize("border", range(1, 18))
def test_the_rows_of_a_key_may_be_cut_at_each_place(monkeypatch, border):
    known = [SINCE - 2 * DAY, SINCE, SINCE, SINCE + 8 * DAY, SINCE + 8 * DAY, SINCE + 40 * DAY]
    rows = [
        {"key": key, "known_at": at, "happened_at": at, "rating": 2.5, "capacity": 4.0, "purpose": "work"}
        | {"size": 14.0, "rental_id": f"{number}"}
        for key in ("1", "11", "a")
        for number, at in enumerate(known)
    ]
    state = state_of(rows)
    rows = list(ordered([row for row in rows if row["known_at"] >= SINCE], state))
    assert len(rows) == 18
    whole = fold(rows, [])
    monkeypatch.setattr(batch, "CHUNK_ROWS", border)
    assert fold(rows, [border]).equals(whole)
    assert fold(rows, [1] * 18).equals(whole)


def test_a_hot_key_is_folded_chunk_by_chunk(monkeypatch):
    number, size = 300_000, 10_000
    known = 18_000 * DAY + pd.Series(range(number)) // 1_000 * DAY
    frame = pd.DataFrame({"key": "dress", "known_at": known, "happened_at": known, "rating": 4.0})
    table = pa.Table.from_pandas(frame.reindex(columns=EVENTS.names), EVENTS, preserve_index=False)
    for field in batch.STATE_FIELDS:
        table = table.append_column(field, pa.nulls(number, field.type))
    folded = []

    def noting(state, events, until, counted=()):
        folded.append(events.num_rows)
        return advance(state, events, until, counted)

    monkeypatch.setattr(batch, "advance", noting)
    batches = (pa.Table.from_batches([part]) for part in table.to_batches(size))
    parts = pa.concat_tables(batch.fold_in_order(USER, batches, UNTIL))
    assert max(folded) < batch.CHUNK_ROWS + size
    assert sum(folded) == number
    rows = parts.filter(pa.compute.invert(parts["is_state"])).sort_by("at")
    assert rows["user_rentals_all"].to_pylist()[-1] == number
    assert rows.filter(pa.compute.equal(rows["at"], 18_000 * DAY + 1))["user_rentals_all"].to_pylist() == [
        1_000
    ]
    assert parts.num_rows - rows.num_rows == 1
