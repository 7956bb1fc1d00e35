"""Sets of recommendations in real databases, SQLite and PostgreSQL; for MySQL that its statements compile."""

import pickle
import threading

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable

from models.recommendation_table import (
    _METADATA,
    RECOMMENDATION,
    ROWS,
    RecommendationTable,
    RecommendationTableError,
)

USERS, TOP = 30, 4


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a folder' / 'recommendations.db'}"
    return request.getfixturevalue("new_database")()


@pytest.fixture
def table(url) -> RecommendationTable:
    return RecommendationTable(url)


def rows(users, prediction=3.0):
    """Recommendations of some users, all with one prediction, by which a set is known."""
    return pd.DataFrame(
        [(f"u{user}", f"r{rank}", prediction, rank) for user in users for rank in range(1, TOP + 1)],
        columns=["user_id", "rental_id", "prediction", "rank"],
    )


def write_whole(table, version, prediction, blocks=3):
    set_id = table.begin(f"content of {version}", version, blocks)
    for block in range(blocks):
        table.write(set_id, block, rows(range(block, USERS, blocks), prediction))
    return set_id


def count(table):
    with table._engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(ROWS)).scalar_one()


def test_apps_read_the_published_set_in_plain_sql(table):
    set_id = write_whole(table, "3", 4.5)
    assert table.of_user("u1").empty, "nobody sees it before"
    table.publish(set_id)
    asked = sa.text("SELECT * FROM recommendation WHERE user_id = 'u1' ORDER BY rank")
    with table._engine.connect() as connection:
        found = connection.execute(asked).mappings().all()
    assert [(row["rental_id"], row["rank"]) for row in found] == [(f"r{n}", n) for n in range(1, TOP + 1)]
    assert {(row["prediction"], row["model_version"]) for row in found} == {(4.5, "3")}
    assert all(row["created_at"] for row in found)
    assert set(found[0]) == {"user_id", "rental_id", "prediction", "rank", "model_version", "created_at"}


def test_a_set_goes_on_where_it_was_left_and_holds_nothing_twice(table):
    set_id = table.begin("content", "3", 3)
    table.write(set_id, 1, rows([1, 4]))
    assert table.begin("content", "3", 3) == set_id
    assert table.missing(set_id) == [0, 2]
    table.write(set_id, 1, rows([1, 4]))
    assert count(table) == 2 * TOP
    with pytest.raises(RecommendationTableError, match=r"2 blocks.*run the precomputation again"):
        table.publish(set_id)
    assert table.begin("other content", "3", 3) != set_id


def test_a_block_that_fails_leaves_nothing(table):
    set_id = table.begin("content", "3", 1)
    with pytest.raises(sa.exc.IntegrityError):
        table.write(set_id, 0, pd.concat([rows([1]), rows([1])]))
    assert (count(table), table.missing(set_id)) == (0, [0])


def test_readers_see_one_set_whole_while_others_take_its_place(table, url):
    table.publish(write_whole(table, "0", 1.0))
    mixed, seen, ended = [], set(), threading.Event()

    def read() -> None:
        reader = RecommendationTable(url)
        everything = sa.select(RECOMMENDATION.c.model_version, RECOMMENDATION.c.prediction)
        with reader._engine.connect() as connection:
            while not ended.is_set():
                found = connection.execute(everything).all()
                connection.commit()
                seen.update(found)
                if len(found) != USERS * TOP or len(set(found)) != 1:
                    mixed.append(set(found))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for version in range(1, 15):
        table.publish(write_whole(table, str(version), 1.0 + version / 5))
    ended.set()
    for reader in readers:
        reader.join()
    assert not mixed
    assert len(seen) > 1, "the readers read while sets changed"
    assert count(table) == USERS * TOP, "old sets are removed"


def test_who_writes_an_older_set_than_the_published_one_is_told(table):
    old = table.begin("old", "3", 2)
    table.write(old, 0, rows([1]))
    table.publish(write_whole(table, "4", 4.0))
    with pytest.raises(RecommendationTableError, match="run the precomputation again"):
        table.write(old, 1, rows([2]))
    with pytest.raises(RecommendationTableError, match="run the precomputation again"):
        table.publish(old)
    assert count(table) == USERS * TOP
    assert table.begin("old", "3", 2) > old


def test_a_later_set_which_another_process_still_writes_is_left_alone(table):
    first = write_whole(table, "3", 3.0)
    second = table.begin("second", "4", 2)
    table.write(second, 0, rows([1]))
    table.publish(first)
    assert table.missing(second) == [1]
    assert count(table) == (USERS + 1) * TOP


def test_publishing_again_changes_nothing(table):
    set_id = write_whole(table, "3", 3.0)
    table.publish(set_id)
    table.publish(set_id)
    assert len(table.of_user("u7")) == TOP


def test_ids_that_differ_in_case_or_script_are_different(table):
    set_id = table.begin("content", "3", 1)
    users = ["u1", "U1", "été ☀", "a'b", "x" * 255]
    table.write(set_id, 0, rows([]).assign(user_id=[]))
    assert table.missing(set_id) == []
    set_id = table.begin("more", "3", 1)
    frame = pd.DataFrame({"user_id": users, "rental_id": "r1", "prediction": 3.0, "rank": 1})
    table.write(set_id, 0, frame)
    table.publish(set_id)
    assert [len(table.of_user(user)) for user in users] == [1] * 5


def test_a_set_comes_back_from_a_dump_of_postgresql(new_database, postgres_tool, tmp_path):
    old, new = new_database(), new_database()
    table = RecommendationTable(old)
    table.publish(write_whole(table, "3", 4.5))
    postgres_tool("pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}", f"--dbname={old}")
    postgres_tool("pg_restore", "--exit-on-error", f"--dbname={new}", tmp_path / "dump")
    assert RecommendationTable(new).of_user("u1").equals(table.of_user("u1"))
    later = write_whole(RecommendationTable(new), "4", 3.5)
    assert later == 2, "numbers go on, and are never given twice"


def test_a_table_travels_to_a_worker_by_its_address(table):
    table.publish(write_whole(table, "3", 3.0))
    assert len(pickle.loads(pickle.dumps(table)).of_user("u7")) == TOP  # noqa: S301


def test_the_statements_compile_for_mysql():
    dialect = mysql.dialect()
    tables = [each for each in _METADATA.sorted_tables if each is not RECOMMENDATION]
    text = "\n".join(str(CreateTable(each).compile(dialect=dialect)) for each in tables)
    assert "user_id VARCHAR(255) COLLATE utf8mb4_bin NOT NULL" in text
    assert "set_id INTEGER NOT NULL AUTO_INCREMENT" in text
    assert "`rank` INTEGER NOT NULL" in text
    asked = str(sa.select(RECOMMENDATION).compile(dialect=dialect))
    assert "recommendation.`rank`" in asked
    engine = RecommendationTable("mysql://user:secret@127.0.0.1/shop")._engine
    assert (engine.dialect.name, engine.dialect.driver) == ("mysql", "pymysql")
