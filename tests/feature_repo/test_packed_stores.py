"""What the packed online stores promise beyond Feast's own, on the real databases."""

import multiprocessing
import os
import signal
import sqlite3
import threading
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.data_source import PushMode
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float32, Float64, Int64, String
from redis_cluster import MASTERS
from redis_server import RedisServer

from feature_repo import store as feature_store
from feature_repo.packed.database import OnlineStoreError, name_of
from feature_repo.settings import FeatureSettings

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30)

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["feature_repo.packed.engine"])
"""Processes that have Feast from the start: its import takes seconds."""


def views(folder, ttl=timedelta(0), fields=None):
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(
        name="source",
        path=str(Path(folder) / "users.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    schema = [Field(name="user_id", dtype=String)]
    schema += [
        Field(name=name, dtype=dtype)
        for name, dtype in (fields or {"score": Float32, "label": String}).items()
    ]
    push = PushSource(name="push", batch_source=source)
    return [user, FeatureView(name="users", entities=[user], ttl=ttl, schema=schema, source=push)]


def open_store(folder, online):
    return FeatureStore(
        config=RepoConfig(
            project=f"p{zlib.crc32(str(folder).encode())}",
            registry={"path": str(Path(folder) / "registry.db"), "serve_features_while_materializing": True},
            provider="local",
            offline_store={"type": "dask"},
            online_store=online,
            batch_engine={"type": "feature_repo.packed.engine.PackedComputeEngine"},
            entity_key_serialization_version=3,
        )
    )


@pytest.fixture(params=["sqlite", "redis", "redis_cluster", "postgres"])
def kind(request):
    return request.param


@pytest.fixture
def store(kind, tmp_path, online_config):
    opened = open_store(tmp_path, online_config(kind) | {"retry_seconds": 20})
    opened.apply(views(tmp_path))
    yield opened
    opened.teardown()


def rows(names, scores, time=NOW, created=NOW, label="l"):
    size = len(names)
    times = [time] * size if isinstance(time, datetime) else time
    return pa.table(
        {
            "user_id": pa.array(names, pa.string()),
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            "created": pa.array(
                [created] * size if isinstance(created, datetime) else created, pa.timestamp("us", "UTC")
            ),
            "score": pa.array(scores, pa.float32()),
            "label": pa.array([label] * size, pa.string()),
        }
    )


def write(store, table):
    feature_store.write_online(store, "users", table)


def scores(store, names):
    return store.get_online_features(["users:score"], [{"user_id": n} for n in names]).to_dict()["score"]


def status(response, name):
    names = list(response.proto.metadata.feature_names.val)
    vector = response.proto.results[names.index(name)]
    labels = vector.DESCRIPTOR.fields_by_name["statuses"].enum_type.values_by_number
    return [labels[number].name for number in vector.statuses]


def online_of(store):
    return store._get_provider().online_store


# The newest wins


def test_an_older_value_never_replaces_a_newer_one(store):
    hour = timedelta(hours=1)
    write(store, rows(["a", "b"], [1, 1], NOW))
    write(store, rows(["a", "b"], [0, 2], [NOW - hour, NOW + hour]))
    assert scores(store, "ab") == [1.0, 2.0]
    frame = rows(["a", "b"], [9, 9], [NOW + hour, NOW - hour]).to_pandas()
    store.push("push", frame, to=PushMode.ONLINE)
    assert scores(store, "ab") == [9.0, 2.0]


def test_of_equal_times_the_one_created_later_wins_and_of_equal_creations_the_one_written_later(store):
    minute = timedelta(minutes=1)
    write(store, rows(["a", "b", "c"], [1, 1, 1], created=[NOW, NOW, None]))
    write(store, rows(["a", "b", "c"], [2, 2, 2], created=[NOW - minute, NOW, NOW]))
    assert scores(store, "abc") == [1.0, 2.0, 2.0]


def test_times_before_1970_and_microseconds_are_told_apart(store):
    early, tick = datetime(1960, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    write(store, rows(["a", "b"], [1, 1], [early, NOW]))
    write(store, rows(["a", "b"], [2, 2], [early + tick, NOW + tick]))
    write(store, rows(["a", "b"], [3, 3], [early, NOW]))
    assert scores(store, "ab") == [2.0, 2.0]


def test_of_duplicates_in_one_table_the_newest_wins(store):
    times = [NOW + timedelta(seconds=second) for second in (1, 3, 2)]
    write(store, rows(["a", "a", "a"], [1, 3, 2], times))
    assert scores(store, "a") == [3.0]


def write_many(config, folder, seed):
    store = open_store(folder, config)
    random = np.random.default_rng(seed)
    for _ in range(10):
        numbers = random.integers(0, 1000, 500)
        names = [f"u{number}" for number in random.integers(0, 300, 500)]
        write(store, rows(names, numbers, [NOW + timedelta(seconds=int(number)) for number in numbers]))


def test_eight_processes_write_at_once_and_the_newest_of_all_is_there(store, kind, tmp_path):
    config = dict(store.config.online_config)
    writers = [PROCESSES.Process(target=write_many, args=(config, tmp_path, seed)) for seed in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    newest = {}
    for seed in range(8):
        random = np.random.default_rng(seed)
        for _ in range(10):
            numbers = random.integers(0, 1000, 500)
            for name, number in zip(random.integers(0, 300, 500), numbers, strict=True):
                newest[f"u{name}"] = max(newest.get(f"u{name}", 0), number)
    assert scores(store, list(newest)) == [float(number) for number in newest.values()]


# Time to live


def test_a_value_older_than_its_ttl_is_null_and_tells_its_age(kind, tmp_path, online_config):
    store = open_store(tmp_path, online_config(kind))
    store.apply(views(tmp_path, ttl=timedelta(days=1)))
    now = datetime.now(UTC)
    hours = timedelta(hours=1)
    write(store, rows(["old", "young"], [1, 2], [now - 25 * hours, now - 23 * hours]))
    response = store.get_online_features(["users:score"], [{"user_id": n} for n in ("old", "young", "no")])
    answer = response.to_dict(include_event_timestamps=True)
    assert answer["score"] == [None, 2.0, None]
    assert answer["score__ts"] == [
        int((now - 25 * hours).timestamp()),
        int((now - 23 * hours).timestamp()),
        0,
    ]
    assert status(response, "score") == ["OUTSIDE_MAX_AGE", "PRESENT", "NOT_FOUND"]
    # A number as a string's key takes Feast's own path, which answers alike.
    base = store.get_online_features(
        ["users:score"],
        [{"user_id": n} for n in ("old", "young")],
        full_feature_names=True,
        include_feature_view_version_metadata=True,
    )
    assert status(base, "users__score") == ["OUTSIDE_MAX_AGE", "PRESENT"]
    store.teardown()


# Wholeness


SIZE = 35_000


def history(folder, label="l"):
    names = [f"u{number}" for number in range(SIZE)]
    pq.write_table(rows(names, np.arange(SIZE), label=label), Path(folder) / "users.parquet")


def materialize(store):
    store.materialize(NOW - timedelta(days=1), NOW + timedelta(days=1))


def materialize_and_die(config, folder, batches, until):
    """Materialize, and die by SIGKILL before the write after some batches of 10,000 rows."""
    store = open_store(folder, config)
    interrupt(store, lambda: os.kill(os.getpid(), signal.SIGKILL), after=batches + 1)
    store.materialize(until - timedelta(days=2), until)


def killed_materialization(store, folder, batches):
    arguments = (dict(store.config.online_config), folder, batches, NOW + timedelta(days=1))
    process = PROCESSES.Process(target=materialize_and_die, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def counted_writes(store, monkeypatch):
    online = online_of(store)
    write, counts = online.write, []

    def count(*arguments):
        counts.append(write(*arguments))
        return counts[-1]

    monkeypatch.setattr(online, "write", count)
    return counts


def test_a_killed_materialization_is_not_readable_and_resumes(store, tmp_path, monkeypatch):
    history(tmp_path)
    killed_materialization(store, tmp_path, batches=2)
    names = [f"u{number}" for number in range(0, SIZE, 100)]
    assert set(scores(store, names)) == {None}
    stored = online_of(store).read(
        store.config, name_of(store.config, store.get_feature_view("users")), _keys(names)
    )
    assert 0 < sum(value is not None for value in stored) < len(names), "nothing or all was written"

    write(store, rows(["u5", "new"], [500, 501], NOW + timedelta(hours=1)))
    assert scores(store, ["u5", "new", "u6"]) == [500.0, 501.0, None]

    counts = counted_writes(store, monkeypatch)
    materialize(store)
    assert scores(store, names) == [float(name[1:]) for name in names]
    assert scores(store, ["u5", "new"]) == [500.0, 501.0]
    assert SIZE - 20_000 - 5 <= sum(counts) <= SIZE - 20_000 + 5, "what was there was written again"


def _keys(names):
    from feature_repo.packed.keys import prefix
    from feature_repo.packed.plan import _value

    return [prefix(["user_id"]) + _value(name) for name in names]


def test_a_refresh_that_is_killed_leaves_every_row_true_as_of_its_time(store, tmp_path):
    history(tmp_path)
    materialize(store)
    names = [f"u{number}" for number in range(SIZE)]
    pq.write_table(
        rows(names, np.arange(SIZE) + 0.5, NOW + timedelta(hours=1), label="later"),
        tmp_path / "users.parquet",
    )
    killed_materialization(store, tmp_path, batches=1)
    found = store.get_online_features(["users:score", "users:label"], {"user_id": names[::50]}).to_dict()
    rows_found = list(zip(found["user_id"], found["score"], found["label"], strict=True))
    for name, score, label in rows_found:
        number = float(name[1:])
        assert (score, label) in [(number, "l"), (number + 0.5, "later")]
    assert {label for _, _, label in rows_found} == {"l", "later"}


def test_a_view_without_rows_is_complete_and_empty(store, tmp_path):
    pq.write_table(rows([], []), tmp_path / "users.parquet")
    materialize(store)
    assert scores(store, ["a"]) == [None]


# Schemas


def test_a_changed_schema_shows_no_wrong_value(kind, tmp_path, online_config):
    config = online_config(kind)
    store = open_store(tmp_path, config)
    store.apply(views(tmp_path, fields={"gone": Float32, "kept": Float32, "changed": Int64}))
    times = {"user_id": ["a"], "event_timestamp": pa.array([NOW], pa.timestamp("us", "UTC"))}
    write(store, pa.table(times | {"gone": [1.0], "kept": [2.0], "changed": [3]}))
    store.apply(views(tmp_path, fields={"new": Float32, "changed": Float64, "kept": Float32}))
    fresh = open_store(tmp_path, config)
    for reader in (store, fresh):
        reader.refresh_registry()
        names = ("new", "changed", "kept")
        response = reader.get_online_features([f"users:{name}" for name in names], [{"user_id": "a"}])
        assert {name: response.to_dict()[name] for name in names} == {
            "new": [None],
            "changed": [None],
            "kept": [2.0],
        }
        assert [status(response, name) for name in names] == [["NOT_FOUND"], ["NOT_FOUND"], ["PRESENT"]]
    write(fresh, pa.table(times | {"new": [7.0], "changed": [8.0], "kept": [9.0]}))
    answer = store.get_online_features(
        ["users:new", "users:changed", "users:kept"], [{"user_id": "a"}]
    ).to_dict()
    assert answer == {"user_id": ["a"], "new": [7.0], "changed": [8.0], "kept": [9.0]}
    store.teardown()


# Bad input


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (rows(["a"], [1]).drop_columns(["label"]), "no column label"),
        (rows(["a"], [1]).drop_columns(["event_timestamp"]), "no column event_timestamp"),
        (rows([None], [1]), "1 rows have no user_id"),
        (rows(["a"], [1], [None]), "no event time"),
        (rows(["a"], [1], datetime.now(UTC) + timedelta(days=2)), "in the future"),
    ],
)
def test_rows_that_cannot_be_right_are_refused(store, table, message):
    with pytest.raises(ValueError, match=message):
        write(store, table)
    assert scores(store, ["a"]) == [None]


def test_a_time_without_zone_is_utc(store):
    naive = rows(["a"], [1]).set_column(1, "event_timestamp", pa.array([NOW.replace(tzinfo=None)]))
    write(store, naive)
    write(store, rows(["a"], [0], NOW - timedelta(seconds=1)))
    assert scores(store, ["a"]) == [1.0]


def test_strings_with_nul_and_infinity_are_stored_and_nan_is_null(store):
    write(store, rows(["a", "b", "c"], [float("inf"), float("nan"), 1], label="\x00'\x00"))
    answer = store.get_online_features(["users:score", "users:label"], {"user_id": ["a", "b"]}).to_dict()
    assert answer["score"] == [float("inf"), None]
    assert answer["label"] == ["\x00'\x00"] * 2


def test_an_incomplete_row_is_refused_because_it_would_erase_the_rest(store):
    key = EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="a")])
    view = store.get_feature_view("users")
    with pytest.raises(ValueError, match="lack label"):
        online_of(store).online_write_batch(
            store.config, view, [(key, {"score": Value(float_val=1)}, NOW, None)], None
        )


def test_many_keys_are_read_at_once(store):
    names = [f"u{number}" for number in range(3000)]
    write(store, rows(names, range(3000)))
    assert scores(store, names) == [float(number) for number in range(3000)]


def test_threads_read_and_write_one_store(store):
    failures = []

    def work(number):
        try:
            for turn in range(20):
                write(store, rows([f"t{number}"], [turn], NOW + timedelta(seconds=turn)))
                assert scores(store, [f"t{number}"]) == [float(turn)]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# SQLite


@pytest.fixture
def sqlite_store(tmp_path, online_config):
    store = open_store(tmp_path, online_config("sqlite") | {"retry_seconds": 0.2})
    store.apply(views(tmp_path))
    write(store, rows(["a"], [1]))
    return store


def test_a_reader_does_not_wait_for_a_writer(sqlite_store, tmp_path):
    writer = sqlite3.connect(tmp_path / "online.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    table = name_of(sqlite_store.config, sqlite_store.get_feature_view("users"))
    writer.execute(f'DELETE FROM "{table}"')  # noqa: S608
    assert scores(sqlite_store, ["a"]) == [1.0]
    writer.execute("COMMIT")
    assert scores(sqlite_store, ["a"]) == [None]


def test_a_database_that_stays_locked_is_named_with_the_remedy(sqlite_store, tmp_path, monkeypatch):
    monkeypatch.setattr("feature_repo.packed.sqlite.LOCK_SECONDS", 0.1)
    online_of(sqlite_store)._threads = threading.local()
    writer = sqlite3.connect(tmp_path / "online.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(OnlineStoreError, match=r"writing users.*online\.db.*locked.*run the same again"):
        write(sqlite_store, rows(["a"], [2], NOW + timedelta(days=1)))
    writer.execute("ROLLBACK")
    write(sqlite_store, rows(["a"], [2], NOW + timedelta(days=1)))
    assert scores(sqlite_store, ["a"]) == [2.0]


def test_the_cause_is_told_when_sqlite_has_rolled_back_by_itself(sqlite_store, tmp_path):
    table = name_of(sqlite_store.config, sqlite_store.get_feature_view("users"))
    with sqlite3.connect(tmp_path / "online.db") as other:
        fail = "BEGIN SELECT RAISE(ROLLBACK, 'the disk is full'); END"
        other.execute(f'CREATE TRIGGER full BEFORE INSERT ON "{table}" {fail}')
    with pytest.raises(sqlite3.IntegrityError, match="the disk is full"):
        write(sqlite_store, rows(["a"], [2], NOW + timedelta(days=1)))
    with sqlite3.connect(tmp_path / "online.db") as other:
        other.execute("DROP TRIGGER full")
    write(sqlite_store, rows(["a"], [2], NOW + timedelta(days=1)))
    assert scores(sqlite_store, ["a"]) == [2.0]


# Redis goes away


@pytest.fixture
def own_redis(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.kill()


@pytest.fixture
def redis_store(tmp_path, own_redis):
    config = {
        "type": "feature_repo.packed.redis.PackedRedisOnlineStore",
        "url": own_redis.url,
        "retry_seconds": 20,
    }
    store = open_store(tmp_path, config)
    store.apply(views(tmp_path))
    history(tmp_path)
    return store


def interrupt(store, action, after=2):
    """Call an action before one of the writes of a materialization."""
    online = online_of(store)
    write, calls = online.write, []

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == after:
            action()
        return write(*arguments)

    online.write = interrupted
    return calls


def all_there(store):
    names = [f"u{number}" for number in range(SIZE)]
    assert scores(store, names) == [float(number) for number in range(SIZE)]


def test_a_redis_that_restarts_with_its_data_gets_the_rest(redis_store, own_redis):
    def restart():
        own_redis.kill()
        threading.Timer(1.0, own_redis.start).start()

    interrupt(redis_store, restart)
    materialize(redis_store)
    all_there(redis_store)


def test_a_redis_that_comes_back_empty_gets_everything_again(redis_store, own_redis, tmp_path):
    def lose_everything():
        own_redis.kill()
        for file in (tmp_path / "redis").glob("append*"):
            file.unlink() if file.is_file() else None
        own_redis.start()

    calls = interrupt(redis_store, lose_everything, after=3)
    materialize(redis_store)
    all_there(redis_store)
    assert len(calls) >= 6, "the rows that were lost were not written again"


def test_a_redis_that_is_emptied_meanwhile_gets_everything_again(redis_store):
    client = redis.Redis.from_url(redis_store.config.online_config["url"])
    interrupt(redis_store, client.flushall, after=3)
    materialize(redis_store)
    all_there(redis_store)


def test_a_redis_that_stays_away_is_named_with_the_remedy_and_nothing_half_is_readable(
    redis_store, own_redis
):
    redis_store.config.online_store.retry_seconds = 0.5
    online_write = online_of(redis_store).write
    interrupt(redis_store, own_redis.kill, after=3)
    with pytest.raises(
        OnlineStoreError, match=r"writing users.*redis://127.0.0.1:\d+.*start the store, then run"
    ):
        materialize(redis_store)
    own_redis.start()
    assert set(scores(redis_store, [f"u{number}" for number in range(0, SIZE, 1000)])) == {None}
    online_of(redis_store).write = online_write
    materialize(redis_store)
    all_there(redis_store)


def test_a_redis_that_loses_data_each_time_ends_in_an_error(redis_store):
    client = redis.Redis.from_url(redis_store.config.online_config["url"])
    online = online_of(redis_store)
    write = online.write

    def lose(*arguments):
        client.flushall()
        return write(*arguments)

    online.write = lose
    with pytest.raises(OnlineStoreError, match="lost values of users during each of 3 materializations"):
        materialize(redis_store)
    assert set(scores(redis_store, ["u1", "u2"])) == {None}


# Redis Cluster


@pytest.fixture
def cluster_store(tmp_path, redis_cluster):
    url = redis_cluster.url
    settings = FeatureSettings(home=tmp_path, online_store_url=url)
    assert type(online_of(feature_store.open_store(settings))).__name__ == "PackedRedisClusterOnlineStore"
    config = {"type": "feature_repo.packed.redis_cluster.PackedRedisClusterOnlineStore", "url": url}
    store = open_store(tmp_path, config | {"retry_seconds": 20})
    store.apply(views(tmp_path))
    history(tmp_path)
    yield store
    store.teardown()
    assert [server.client().dbsize() for server in redis_cluster.servers] == [0] * MASTERS


def test_a_view_is_spread_over_the_servers_and_a_read_asks_each_of_them_once(
    cluster_store, redis_cluster, monkeypatch
):
    materialize(cluster_store)
    view = name_of(cluster_store.config, cluster_store.get_feature_view("users"))
    held = [
        sum(client.hlen(key) for key in client.scan_iter(f"*{view}", count=1000))
        for client in (server.client() for server in redis_cluster.servers)
    ]
    assert sum(held) > SIZE and min(held) > SIZE / MASTERS * 0.95

    asked, write_to = [], redis.cluster.NodeCommands.write
    monkeypatch.setattr(
        redis.cluster.NodeCommands, "write", lambda commands: (asked.append(1), write_to(commands))
    )
    names = [f"u{number}" for number in range(0, SIZE, SIZE // 100)]
    assert scores(cluster_store, names) == [float(name[1:]) for name in names]
    assert len(asked) == MASTERS


@pytest.mark.parametrize("emptied", range(MASTERS))
def test_a_server_that_is_emptied_meanwhile_gets_everything_again(cluster_store, redis_cluster, emptied):
    calls = interrupt(cluster_store, redis_cluster.servers[emptied].client().flushall, after=3)
    materialize(cluster_store)
    all_there(cluster_store)
    assert len(calls) >= 6, "the rows that were lost were not written again"


def test_a_view_that_a_server_has_lost_is_not_readable_as_whole_until_it_is_filled_again(
    cluster_store, redis_cluster, tmp_path
):
    materialize(cluster_store)
    redis_cluster.servers[1].client().flushall()
    names = [f"u{number}" for number in range(0, SIZE, 100)]
    assert set(scores(cluster_store, names)) == {None}
    write(cluster_store, rows(["u5"], [500], NOW + timedelta(hours=1)))
    assert scores(cluster_store, ["u5"]) == [500.0]
    killed_materialization(cluster_store, tmp_path, batches=1)
    assert set(scores(cluster_store, names)) == {None}
    materialize(cluster_store)
    assert scores(cluster_store, names) == [float(name[1:]) for name in names]


def test_a_server_that_restarts_with_its_data_gets_the_rest(cluster_store, redis_cluster):
    server = redis_cluster.servers[2]

    def restart():
        server.client().save()
        server.kill()
        threading.Timer(1.0, server.start).start()

    interrupt(cluster_store, restart)
    materialize(cluster_store)
    all_there(cluster_store)


def test_a_postgres_connection_that_broke_is_opened_anew(tmp_path, online_config):
    config = online_config("postgres")
    store = open_store(tmp_path, config)
    store.apply(views(tmp_path))
    write(store, rows(["a"], [1]))
    import psycopg

    with psycopg.connect(config["url"], autocommit=True) as other:
        end = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        other.execute(end)
        assert scores(store, ["a"]) == [1.0]
        other.execute(end)
        write(store, rows(["a"], [2], NOW + timedelta(days=1)))
    assert scores(store, ["a"]) == [2.0]


# Settings


def test_an_unknown_online_store_is_refused_with_those_that_are_known(tmp_path):
    known = r"'mysql'.*redis://.*redis\+cluster://.*postgresql://.*SQLite"
    with pytest.raises(feature_store.StoreError, match=known):
        feature_store.open_store(FeatureSettings(home=tmp_path, online_store_url="mysql://localhost/x"))


def test_text_that_is_no_address_is_not_shown_because_it_may_hold_a_password(tmp_path):
    with pytest.raises(feature_store.StoreError) as refused:
        feature_store.open_store(FeatureSettings(home=tmp_path, online_store_url="user:secret@host:6379"))
    assert "secret" not in str(refused.value)


def test_a_store_of_feast_takes_no_arrow_table(tmp_path):
    store = open_store(tmp_path, {"type": "sqlite", "path": str(tmp_path / "own.db")})
    store.apply(views(tmp_path))
    with pytest.raises(feature_store.StoreError, match="SqliteOnlineStore takes no Arrow table"):
        write(store, rows(["a"], [1]))
