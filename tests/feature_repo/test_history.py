"""The history of features: extended it is the whole, bit for bit, and no failure leaves it half-way."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_marketplace import (
    BORDERS,
    DAY,
    END,
    START,
    differing,
    everything,
    histories,
    home,
    land,
    marketplace,
)

from feature_repo import history, lake
from feature_repo.settings import CHECKOUT, FeatureSettings
from feature_repo.views import VIEW_DEFINITIONS

pytestmark = pytest.mark.slow


def files_of(settings):
    return {file.name for view in VIEW_DEFINITIONS for file in (settings.lake / view.name).glob("*.parquet")}


def changed_keys(before, after):
    """Per view, the keys of which any row is new, gone or another."""
    changed = {}
    for view in VIEW_DEFINITIONS:
        rows = [
            {json.dumps(row, default=str, sort_keys=True): row[view.key] for row in table.to_pylist()}
            for table in (before[view.name], after[view.name])
        ]
        changed[view.name] = {(rows[0] | rows[1])[text] for text in rows[0].keys() ^ rows[1].keys()}
    return changed


def test_in_three_parts_it_is_the_whole_and_again_it_stays_so(whole, tmp_path):
    settings = home(tmp_path, marketplace())
    for until in [*BORDERS, END, END]:
        history.compute(settings, until)
        assert history.as_of(settings) == until
        if until == BORDERS[0]:
            first = files_of(settings)
    assert differing(everything(settings), whole) == []
    assert first <= files_of(settings), "what was there is kept and not computed again"


def test_batches_that_land_between_the_parts_give_the_whole(whole, tmp_path):
    tables = marketplace()
    settings = home(tmp_path)
    since = START - DAY
    times = {"users": ["joined_at"], "rentals": ["listed_at"], "ratings": ["event_timestamp", "arrived_at"]}
    for until in [*BORDERS, END]:
        for table, frame in tables.items():
            known = frame[times[table]].max(axis=1)
            lake.append(settings.lake, table, f"{until:%Y-%m-%d}", frame[(known >= since) & (known < until)])
        history.compute(settings, until)
        since = until
    assert differing(everything(settings), whole) == []


def test_a_late_batch_corrects_the_rows_that_it_touches_and_no_others(spark, tmp_path):
    tables = marketplace()
    late = {
        "ratings": pd.DataFrame(
            {
                "rating_id": ["late"],
                "user_id": "1",
                "rental_id": "12",
                "rating": 1.0,
                "source_rating": 1.0,
                "purpose": "party",
                "size": 8.0,
                "event_timestamp": START + 300 * DAY,
                "arrived_at": START + 310 * DAY,
            }
        )
    }
    settings = home(tmp_path / "extended", tables)
    history.compute(settings, END)
    before = everything(settings)
    land(settings, late, "late")
    history.compute(settings, END)
    after = everything(settings)
    assert changed_keys(before, after) == {
        "user_features": {"1"},
        "rental_features": {"12"},
        "category_features": {'a"b'},
        "purpose_features": {"party"},
    }
    for view in VIEW_DEFINITIONS:
        earlier = [
            table.filter(pa.compute.less_equal(table["event_timestamp"], pa.scalar(late_at(late))))
            for table in (before[view.name], after[view.name])
        ]
        assert earlier[0].equals(earlier[1])
    computed_at_once = home(tmp_path / "whole", tables)
    land(computed_at_once, late, "late")
    history.compute(computed_at_once, END)
    assert differing(after, everything(computed_at_once)) == []


def late_at(tables):
    return tables["ratings"]["arrived_at"].iloc[0].to_pydatetime()


def test_users_and_rentals_that_land_after_their_ratings_are_known_from_their_start_on(whole, tmp_path):
    tables = marketplace()
    settings = home(tmp_path, {"ratings": tables["ratings"]})
    history.compute(settings, BORDERS[1])
    unknown = histories(settings)["user_features"]
    assert unknown["user_age"].null_count == unknown.num_rows
    land(settings, {"users": tables["users"], "rentals": tables["rentals"]}, "late")
    history.compute(settings, END)
    assert differing(everything(settings), whole) == []
    users = whole["user_features"].to_pandas().set_index("user_id").loc["ü"]
    joined = users["event_timestamp"] >= START + 300 * DAY
    assert users.loc[joined, "user_age"].notna().all()
    assert users.loc[~joined, "user_age"].isna().all()
    assert joined.any()
    assert not joined.all()


def test_batches_of_before_sizes_were_kept_count_none(spark, tmp_path):
    tables = marketplace()
    is_old = tables["ratings"]["user_id"] != "ü"
    settings = home(tmp_path / "old", tables | {"ratings": tables["ratings"][is_old]})
    file = settings.lake / "ratings" / "batch.parquet"
    pq.write_table(pq.read_table(file).drop_columns("size"), file)
    land(settings, {"ratings": tables["ratings"][~is_old]}, "new")
    history.compute(settings, END)
    sized = tables["ratings"].assign(size=tables["ratings"]["size"].mask(is_old))
    expected = home(tmp_path / "null", tables | {"ratings": sized})
    history.compute(expected, END)
    assert differing(everything(settings), everything(expected)) == []
    counts = histories(settings)["user_features"].to_pandas().groupby("user_id")["user_size_counts"].last()
    assert {user for user, text in counts.items() if text != "{}"} == {"ü"}


@pytest.fixture
def computed(whole, tmp_path):
    settings = home(tmp_path / "home", marketplace())
    history.compute(settings, END)
    return settings


def test_another_definition_or_a_changed_batch_asks_for_the_whole_history_anew(computed, whole, monkeypatch):
    files = files_of(computed)
    monkeypatch.setattr(history, "definition", lambda: "another")
    history.compute(computed, END)
    assert not files & files_of(computed)
    assert differing(everything(computed), whole) == []
    tables = marketplace()
    fewer = tables["ratings"].iloc[:50]
    lake.append(computed.lake, "ratings", "batch", fewer)
    history.compute(computed, END)
    found = everything(computed)
    expected = home(computed.home.parent / "fewer", tables | {"ratings": fewer})
    history.compute(expected, END)
    assert differing(found, everything(expected)) == []
    assert differing(found, whole)
    (computed.lake / "ratings" / "batch.parquet").unlink()
    assert history.compute(computed, END)["purpose_features"] == 0


def test_going_back_in_time_forgets_what_came_later(computed, whole, tmp_path):
    history.compute(computed, BORDERS[0])
    assert history.as_of(computed) == BORDERS[0]
    for view in VIEW_DEFINITIONS:
        rows = histories(computed)[view.name]
        times = whole[view.name]["event_timestamp"]
        assert rows.equals(
            whole[view.name].filter(pa.compute.less_equal(times, pa.scalar(BORDERS[0].to_pydatetime())))
        )


def test_an_empty_lake_has_an_empty_history_that_can_be_extended(spark, whole, tmp_path):
    settings = home(tmp_path)
    assert set(history.compute(settings, BORDERS[0]).values()) == {0}
    tables = marketplace()
    land(settings, {"users": tables["users"], "rentals": tables["rentals"]})
    rows = history.compute(settings, BORDERS[0])
    assert rows == {"user_features": 2, "rental_features": 2, "category_features": 1, "purpose_features": 0}
    land(settings, {"ratings": tables["ratings"]})
    history.compute(settings, END)
    assert differing(everything(settings), whole) == []


def test_nothing_is_known_of_the_future(tmp_path):
    with pytest.raises(lake.LakeError, match="lies in the future"):
        history.compute(FeatureSettings(home=tmp_path), pd.Timestamp.now("UTC") + pd.Timedelta(hours=1))


def test_a_time_without_a_zone_names_no_moment(tmp_path):
    with pytest.raises(lake.LakeError, match="no time zone"):
        history.compute(home(tmp_path), pd.Timestamp("2020-01-01"))


def test_two_computations_do_not_meet(computed, whole):
    with lake.exclusive(computed.lake / "features"), pytest.raises(lake.LakeError, match="another run"):
        history.compute(computed, END)
    assert history.as_of(computed) == END
    assert differing(everything(computed), whole) == []


COMPUTE = """
import sys
import pandas as pd
from pathlib import Path
from feature_repo import history
from feature_repo.settings import FeatureSettings
history.compute(FeatureSettings(home=Path(sys.argv[1])), pd.Timestamp(sys.argv[2]))
"""


def killed_when(settings, until, reached):
    """Compute in another process, and kill it with its JVM as soon as ``reached``."""
    command = [sys.executable, "-c", COMPUTE, str(settings.home), str(until)]
    running = subprocess.Popen(command, cwd=CHECKOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while not reached():
            assert running.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def test_a_killed_computation_leaves_what_was_there_and_the_next_is_right(whole, tmp_path):
    settings = home(tmp_path, marketplace())
    second_view = settings.lake / ".rental_features.new"
    killed_when(settings, BORDERS[0], second_view.exists)
    with pytest.raises(lake.LakeError, match="no features"):
        history.as_of(settings)
    history.compute(settings, BORDERS[0])
    before = everything(settings)
    killed_when(settings, END, second_view.exists)
    assert history.as_of(settings) == BORDERS[0]
    assert differing(everything(settings), before) == []
    history.compute(settings, END)
    assert differing(everything(settings), whole) == []


def test_a_computation_that_fails_while_views_are_replaced_leaves_none_readable(computed, whole, monkeypatch):
    def refuse(*_args):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(history, "_compute_view", half_replaced(refuse))
        with pytest.raises(OSError, match="disk is gone"):
            history.compute(computed, END)
    with pytest.raises(lake.LakeError, match="no features"):
        history.as_of(computed)
    history.compute(computed, END)
    assert differing(everything(computed), whole) == []


def half_replaced(fail, honest=history._compute_view):
    """The last view is replaced, and the others cannot be any more."""

    def compute_view(settings, source, view, replacements):
        rows = honest(settings, source, view, replacements)
        if view.name == "category_features":
            replacements.callback(fail)
        return rows

    return compute_view
