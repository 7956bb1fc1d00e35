"""Recommendations of all users ahead of requests, against the embedded model's answers one by one."""

import os
import signal
import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from models.load import load
from models.precompute import BestRentals, PrecomputeError, _whole_blocks, precompute, precompute_on_spark
from models.recommendation_table import BLOCKS, RECOMMENDATION, ROWS, RecommendationTable

TOP = 5


@pytest.fixture(scope="module")
def users(market) -> pd.DataFrame:
    """The latest features of each user."""
    events = pd.concat([market.train, market.test])
    latest = events.groupby("user_id").tail(1)
    return latest[["user_id", "user_age", "user_segment", "user_rating_mean_all"]].assign(purpose="")


@pytest.fixture(scope="module")
def best(exported) -> BestRentals:
    return BestRentals((exported / "model.onnx").read_bytes(), TOP, threads=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'recommendations.db'}"
    return request.getfixturevalue("new_database")()


def whole(table) -> pd.DataFrame:
    asked = sa.select(RECOMMENDATION).order_by(RECOMMENDATION.c.user_id, RECOMMENDATION.c.rank)
    with table._engine.connect() as connection:
        return pd.read_sql(asked, connection).sort_values(["user_id", "rank"], ignore_index=True)


def test_every_user_gets_what_a_request_would_answer(users, best, exported):
    embedded = load(exported)
    found = best(users)
    assert len(found) == len(users) * TOP
    by_user = dict(iter(found.groupby("user_id", sort=False)))
    for user in users.head(50).to_dict("records"):
        wanted = embedded.recommend(user, TOP)
        rows = by_user[user["user_id"]]
        assert list(rows["rental_id"]) == [one.rental_id for one in wanted]
        assert list(rows["rank"]) == list(range(1, TOP + 1))
        np.testing.assert_allclose(rows["prediction"], [one.predicted_rating for one in wanted], atol=1e-5)


def test_what_a_user_must_not_get_is_masked(users, best, market):
    already = market.train.groupby("user_id")["rental_id"].agg(list)
    rented = users.assign(exclude=users["user_id"].map(already))
    found = best(rented).merge(
        market.train[["user_id", "rental_id"]].drop_duplicates(), indicator=True, how="left"
    )
    assert (found["_merge"] == "left_only").all()
    all_but_two = users.head(3).assign(exclude=[list(market.latest["rental_id"][2:])] * 3)
    assert best(all_but_two).groupby("user_id").size().tolist() == [2, 2, 2]


def test_the_table_holds_all_users_and_the_same_again_writes_nothing(users, best, url):
    table = RecommendationTable(url)
    first = precompute(users, best, "7", table, block=64)
    assert (first.users, first.blocks, first.written) == (len(users), -(-len(users) // 64), first.blocks)
    stored = whole(table)
    expected = best(users).sort_values(["user_id", "rank"], ignore_index=True)
    pd.testing.assert_frame_equal(
        stored[["user_id", "rental_id", "rank"]], expected[["user_id", "rental_id", "rank"]]
    )
    np.testing.assert_allclose(stored["prediction"], expected["prediction"], atol=1e-5)
    assert set(stored["model_version"]) == {"7"}
    again = precompute(users.sample(frac=1, random_state=0), best, "7", table, block=64)
    assert (again.set_id, again.written) == (first.set_id, 0)
    changed = precompute(users.assign(user_age=30.0), best, "7", table, block=64)
    assert changed.set_id > first.set_id and changed.written == first.blocks


KILLED = """
import sys
import pandas as pd
from models.precompute import BestRentals, precompute
from models.recommendation_table import RecommendationTable

class Slow(RecommendationTable):
    def write(self, set_id, block, rows):
        super().write(set_id, block, rows)
        print(block, flush=True)
        if block == 3:
            import time
            time.sleep(60)

users, graph, url = pd.read_pickle(sys.argv[1]), open(sys.argv[2], "rb").read(), sys.argv[3]
precompute(users, BestRentals(graph, 5, threads=1), "8", Slow(url), block=40)
"""
"""A precomputation which is slow after its fourth block, so that it can be killed there."""


@pytest.mark.slow
def test_a_precomputation_that_was_killed_goes_on_with_the_missing_blocks(
    users, best, exported, url, tmp_path
):
    table = RecommendationTable(url)
    precompute(users.assign(user_age=50.0), best, "7", table, block=40)
    before = whole(table)
    users.to_pickle(tmp_path / "users.pickle")
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(tmp_path / "users.pickle"),
        str(exported / "model.onnx"),
        url,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "3":
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    pd.testing.assert_frame_equal(whole(table), before)

    done = precompute(users, best, "8", table, block=40)
    assert done.written == done.blocks - 4
    resumed = whole(table)
    assert set(resumed["model_version"]) == {"8"}
    assert not resumed.duplicated(["user_id", "rank"]).any()
    assert len(resumed) == len(users) * TOP


def test_users_that_are_none_or_twice_are_refused(users, best, tmp_path):
    table = RecommendationTable(f"sqlite:///{tmp_path / 'recommendations.db'}")
    nameless = users.assign(user_id=users["user_id"].where(users["user_id"] != "u1"))
    for wrong in (users.head(0), pd.concat([users, users.head(1)]), nameless):
        with pytest.raises(PrecomputeError, match="in one row"):
            precompute(wrong, best, "7", table, block=64)
    with pytest.raises(ValueError, match=r"lacks \['user_segment'\]"):
        precompute(users.drop(columns="user_segment"), best, "7", table, block=64)
    assert not (tmp_path / "recommendations.db").exists() or whole(table).empty


def test_blocks_that_arrive_in_pieces_are_put_together():
    frame = pd.DataFrame({"block": [0, 0, 2, 2, 2, 5], "user_id": list("abcdef")})
    for cuts in ([6], [1, 6], [2, 5, 6], [1, 2, 3, 4, 5, 6], [3, 3, 6]):
        starts = [0, *cuts[:-1]]
        pieces = (frame.iloc[start:end] for start, end in zip(starts, cuts, strict=True))
        found = [(number, "".join(part["user_id"])) for number, part in _whole_blocks(pieces)]
        assert found == [(0, "ab"), (2, "cde"), (5, "f")]


@pytest.mark.slow
def test_spark_writes_the_same_set(users, best, spark, tmp_path):
    local, cluster = (RecommendationTable(f"sqlite:///{tmp_path / name}.db") for name in ("local", "cluster"))
    precompute(users, best, "7", local, block=64)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 50)
    try:
        frame = spark.createDataFrame(users)
        done = precompute_on_spark(frame, best, "7", cluster, block=64)
        again = precompute_on_spark(frame, best, "7", cluster, block=64)
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert (done.users, done.written, again.written) == (len(users), done.blocks, 0)
    with pytest.raises(PrecomputeError, match="in one row"):
        precompute_on_spark(frame.union(frame.limit(1)), best, "7", cluster, block=64)
    columns = ["user_id", "rental_id", "rank", "model_version"]
    here, there = whole(local), whole(cluster)
    pd.testing.assert_frame_equal(here[columns], there[columns])
    np.testing.assert_allclose(here["prediction"], there["prediction"], atol=1e-5)


@pytest.mark.slow
def test_spark_goes_on_with_the_missing_blocks_and_writes_empty_ones(users, best, spark, tmp_path):
    table = RecommendationTable(f"sqlite:///{tmp_path / 'cluster.db'}")
    frame = spark.createDataFrame(users.head(12))
    done = precompute_on_spark(frame, best, "7", table, block=1)
    assert done.blocks == 12, "some of them are without users, because their number is a hash"
    assert len(whole(table)) == 12 * TOP
    lost = zlib.crc32(users["user_id"].iloc[0].encode()) % 12
    with table._engine.begin() as connection:
        connection.execute(sa.delete(BLOCKS).where(BLOCKS.c.block == lost))
        for user in users.head(12)["user_id"]:
            if zlib.crc32(user.encode()) % 12 == lost:
                connection.execute(sa.delete(ROWS).where(ROWS.c.user_id == user))
    assert precompute_on_spark(frame, best, "7", table, block=1).written == 1
    assert len(whole(table)) == 12 * TOP
