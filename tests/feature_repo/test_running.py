"""The running sums and the features that follow from them, against brute force over random histories."""

import json
import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.names import USER_VIEW, WINDOW_DAYS
from feature_repo.transforms.activity import RATING_PRIOR, table
from feature_repo.transforms.running import (
    EVENTS,
    MICROSECONDS_PER_DAY,
    RunningSumError,
    State,
    advance,
)
from feature_repo.views import VIEW_DEFINITIONS

DAY = MICROSECONDS_PER_DAY
BEGINNING = 18_000 * DAY
USER = next(view for view in VIEW_DEFINITIONS if view.name == USER_VIEW)

moments = st.one_of(
    st.integers(0, 500).map(lambda day: day * DAY),
    st.builds(
        lambda day, rest: day * DAY + rest, st.integers(0, 500), st.sampled_from([1, DAY // 2, DAY - 1])
    ),
)
delays = st.one_of(st.just(0), st.sampled_from([1, DAY // 3, 8 * DAY, 400 * DAY]))


@st.composite
def event(draw):
    happened = BEGINNING + draw(moments)
    return {
        "key": draw(st.sampled_from(["1", "11", "ü"])),
        "known_at": happened + draw(delays),
        "happened_at": happened,
        "rating": draw(st.sampled_from([1.0, 2.5, 5.0, None])),
        "price": draw(st.sampled_from([9.99, 100.0, None])),
        "capacity": draw(st.sampled_from([4.0, 14.0, None])),
        "size": draw(st.sampled_from([0.0, 0.1, 14.0, None])),
        "category": draw(st.sampled_from(["gown", 'a"b', None])),
        "purpose": draw(st.sampled_from(["work", None])),
        "rental_id": draw(st.sampled_from([*"abcdefghijklm", 'a"b', "ü"])),
    }


histories = st.one_of(
    st.lists(event(), max_size=25),
    # Of one user, so that there are more rentals than are kept.
    st.lists(event().map(lambda e: e | {"key": "1"}), min_size=12, max_size=30),
)


def features(events, until, state=None):
    rows, after = advance(state or State(), pa.Table.from_pylist(events, EVENTS), until, USER.counted)
    return table(USER, rows), after


def brute_force(events, key, at):
    """The features of ``key`` from the events that were known strictly before ``at``."""
    known = [e for e in events if e["key"] == key and e["known_at"] < at]
    rated = [e for e in known if e["rating"] is not None]
    expected = {}
    for name, days in [*((f"{d}d", d) for d in WINDOW_DAYS), ("all", 10**6)]:
        inside = [e["rating"] for e in rated if e["happened_at"] // DAY >= at // DAY - days]
        expected[f"user_rentals_{name}"] = len(inside)
        ratings = pd.Series(inside, dtype=float)
        expected[f"user_rating_mean_{name}"] = ratings.mean()
        expected[f"user_rating_deviation_{name}"] = ratings.std(ddof=0)
        expected[f"user_rating_shrunk_{name}"] = (sum(inside) + RATING_PRIOR.mean * RATING_PRIOR.weight) / (
            len(inside) + RATING_PRIOR.weight
        )
    expected["user_last_rental_at"] = max((e["happened_at"] / 1e6 for e in rated), default=math.nan)
    for measure in ("price", "capacity"):
        amounts = pd.Series([e[measure] for e in known], dtype=float)
        expected[f"user_{measure}_mean"] = amounts.mean()
        expected[f"user_{measure}_deviation"] = amounts.std(ddof=0)
    for attribute in USER.counted:
        values = [e[attribute] for e in rated if e[attribute] is not None]
        is_number = attribute in ("capacity", "size")
        values = [f"{v:g}" if is_number else v for v in values]
        counts = {value: values.count(value) for value in values}
        expected[f"user_{attribute}_counts"] = counts
        if not is_number:
            expected[f"user_favourite_{attribute}"] = max(counts, key=lambda v: (counts[v], v), default=None)
    expected["user_categories"] = len(expected["user_category_counts"])
    latest = {e["rental_id"]: e for e in sorted(rated, key=lambda e: e["happened_at"])}
    order = sorted(latest, key=lambda rental: (latest[rental]["happened_at"], rental), reverse=True)
    expected["user_recent_rentals"] = order[:10]
    return expected


def assert_same(found, expected, where):
    for name, wanted in expected.items():
        got = json.loads(found[name]) if isinstance(wanted, dict | list) else found[name]
        if isinstance(wanted, float) and math.isnan(wanted):
            assert got is None, (where, name, got)
        else:
            assert got == (
                pytest.approx(wanted, rel=1e-5, abs=1e-5) if isinstance(wanted, float) else wanted
            ), (
                where,
                name,
            )


@settings(max_examples=60, deadline=None)
@given(histories)
def test_each_row_is_what_was_known_strictly_before_it(events):
    until = BEGINNING + 2_000 * DAY
    rows, _ = features(events, until)
    for row in rows.to_pylist():
        assert_same(row, brute_force(events, row["key"], row["at"]), row)


@settings(max_examples=60, deadline=None)
@given(histories, st.lists(moments, min_size=1, max_size=5))
def test_a_value_holds_from_its_row_to_the_next(events, times):
    rows, _ = features(events, BEGINNING + 2_000 * DAY)
    rows = rows.to_pylist()
    for at in times:
        at += BEGINNING + DAY // 7
        for key in {e["key"] for e in events}:
            before = [row for row in rows if row["key"] == key and row["at"] <= at]
            if before:
                assert_same(max(before, key=lambda row: row["at"]), brute_force(events, key, at), (key, at))
            else:
                assert not [e for e in events if e["key"] == key and e["known_at"] < at]


@settings(max_examples=60, deadline=None)
@given(histories, st.lists(moments, min_size=2, max_size=2))
def test_in_three_parts_it_gives_the_same_bits_as_at_once(events, borders):
    until = BEGINNING + 2_000 * DAY
    whole, end = features(events, until)
    parts, state, since = [], State(), -1
    for border in [*sorted(BEGINNING + border for border in borders), until]:
        part = [e for e in events if since <= e["known_at"] < border]
        rows, state = features(part, border, State.from_table(state.to_table()))
        parts.append(rows)
        since = border
    order = [("key", "ascending"), ("at", "ascending")]
    assert pa.concat_tables(parts).sort_by(order).equals(whole.sort_by(order))
    assert state.to_table().sort_by("key").equals(end.to_table().sort_by("key"))


def test_an_event_that_is_not_known_yet_is_refused():
    known = {"key": "1", "known_at": BEGINNING, "happened_at": BEGINNING, "rating": 3.0}
    with pytest.raises(RunningSumError, match="before it is known"):
        features([known], BEGINNING)


@pytest.mark.parametrize(("price", "times"), [(1e8, 1), (1.5e7, 3)])
def test_a_sum_beyond_64_bits_is_an_error_and_not_a_wrong_number(price, times):
    event = {"key": "1", "known_at": BEGINNING, "happened_at": BEGINNING, "rating": 3.0, "price": price}
    with pytest.raises(RunningSumError, match="summed exactly"):
        features([event] * times, BEGINNING + 1)


def test_nothing_gives_no_rows():
    rows, after = features([], BEGINNING)
    assert rows.num_rows == 0
    assert after.to_table().num_rows == 0
