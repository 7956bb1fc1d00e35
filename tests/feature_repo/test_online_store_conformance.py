"""Feast's own online stores and the packed ones give the same answers to the same requests.

What Feast's own are known to do wrong is in ``test_packed_stores.py``.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RepoConfig,
    RequestSource,
    ValueType,
)
from feast.data_source import PushMode
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, Json, Map, String, UnixTimestamp

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=30)
HOSTILE = [
    "1",
    "11",
    "",
    "ü",
    "日本",
    "a b",
    "x'; DROP TABLE t; --",
    "\x00",
    "%s",
    "{}",
    "a" * 5000,
    "mark",
    "schema:",
]

TYPES = {
    "int32": (Int32, pa.int32(), [1, -(2**31), None]),
    "int64": (Int64, pa.int64(), [2, 2**40, -5]),
    "float32": (Float32, pa.float32(), [0.1, float("inf"), None]),
    "float64": (Float64, pa.float64(), [0.1, float("-inf"), None]),
    "flag": (Bool, pa.bool_(), [True, False, None]),
    "text": (String, pa.string(), ["", "ü'\"", None]),
    "json_text": (String, pa.string(), ['{"a": [1, 2]}', "[]", None]),
    "blob": (Bytes, pa.binary(), [b"\x00\xff", b"", None]),
    "moment": (UnixTimestamp, pa.timestamp("us", "UTC"), [NOW, NOW + timedelta(days=1), NOW]),
    "int32s": (Array(Int32), pa.list_(pa.int32()), [[1, 2], [], None]),
    "int64s": (Array(Int64), pa.list_(pa.int64()), [[2**40], [], None]),
    "float32s": (Array(Float32), pa.list_(pa.float32()), [[0.5, -1.0], [float("nan")], None]),
    "float64s": (Array(Float64), pa.list_(pa.float64()), [[0.1], [], None]),
    "flags": (Array(Bool), pa.list_(pa.bool_()), [[True, False], [], None]),
    "texts": (Array(String), pa.list_(pa.string()), [["a", "ü", ""], [], None]),
    "blobs": (Array(Bytes), pa.list_(pa.binary()), [[b"a", b"\x00"], [], None]),
    "moments": (Array(UnixTimestamp), pa.list_(pa.timestamp("us", "UTC")), [[NOW], [], None]),
    "mapping": (Map, pa.string(), ['{"k": "v"}', '{"n": 1}', None]),
    "document": (Json, pa.string(), ['{"a": 1}', "[1, 2]", None]),
}
"""By feature: its Feast type, the column's Arrow type, and three values."""


def frames() -> dict[str, pa.Table]:
    """The offline data: what each source holds."""
    ids = [1, 2, 3]
    times = pa.array([NOW] * 3, pa.timestamp("us", "UTC"))
    kinds = {"number": pa.array(ids, pa.int64()), "event_timestamp": times}
    kinds |= {name: pa.array(values, arrow) for name, (_, arrow, values) in TYPES.items()}
    plain = {
        "user_id": pa.array(HOSTILE),
        "event_timestamp": pa.array([NOW] * len(HOSTILE), pa.timestamp("us", "UTC")),
        "score": pa.array(np.arange(len(HOSTILE)), pa.float32()),
        "label": pa.array([f"label of {name[:9]!a}" for name in HOSTILE]),
    }
    pairs = {
        "user_id": pa.array(["1", "11", "1"]),
        "number": pa.array([11, 1, 1], pa.int64()),
        "event_timestamp": times,
        "affinity": pa.array([0.25, 0.5, None], pa.float64()),
    }
    whole = {
        "event_timestamp": pa.array([NOW, NOW - timedelta(days=1)], pa.timestamp("us", "UTC")),
        "total": pa.array([7, 6], pa.int64()),
    }
    return {
        name: pa.table(t)
        for name, t in {"kinds": kinds, "plain": plain, "pairs": pairs, "whole": whole}.items()
    }


def definitions(folder: Path):
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    item = Entity(name="item", join_keys=["number"], value_type=ValueType.INT64)

    def view(name, entities, fields):
        source = FileSource(
            name=f"{name}_source", path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp"
        )
        if name == "plain":
            source = PushSource(name="plain_push", batch_source=source)
        keys = [Field(name=e.join_key, dtype=String if e is user else Int64) for e in entities]
        schema = keys + [Field(name=n, dtype=t) for n, t in fields.items()]
        return FeatureView(name=name, entities=entities, ttl=timedelta(0), schema=schema, source=source)

    kinds = view("kinds", [item], {name: feast_type for name, (feast_type, _, _) in TYPES.items()})
    plain = view("plain", [user], {"score": Float32, "label": String})
    pairs = view("pairs", [user, item], {"affinity": Float64})
    whole = view("whole", [], {"total": Int64})
    request = RequestSource(name="request", schema=[Field(name="size", dtype=Float64)])

    @on_demand_feature_view(
        sources=[plain, request], schema=[Field(name="scaled", dtype=Float64)], mode="python"
    )
    def scaled_python(inputs):
        return {
            "scaled": [
                None if s is None else s * z for s, z in zip(inputs["score"], inputs["size"], strict=True)
            ]
        }

    @on_demand_feature_view(
        sources=[plain, request], schema=[Field(name="raised", dtype=Float64)], mode="pandas"
    )
    def raised_pandas(inputs):
        return pd.DataFrame({"raised": inputs["score"].astype("float64") + inputs["size"]})

    service = FeatureService(name="service", features=[plain[["label"]], pairs, scaled_python])
    simple = FeatureService(name="simple", features=[plain, whole.with_name("everything")])
    return [user, item, kinds, plain, pairs, whole, scaled_python, raised_pandas, service, simple]


STORES = ["sqlite", "redis", "postgres"]


def online_config(kind: str, folder: Path, request: pytest.FixtureRequest) -> dict[str, object]:
    """Configuration of an online store that is empty; packed ones are named so."""
    name = kind.removeprefix("packed ")
    title = name.title().replace("_", "")
    if name == "sqlite":
        config = {"path": str(folder / "online.db")}
    elif name == "redis_cluster":
        config = {"url": request.getfixturevalue("redis_cluster").url}
    elif name == "redis":
        url = request.getfixturevalue("redis_server").url
        config = {"url": url} if kind != name else {"connection_string": url.removeprefix("redis://")}
    else:
        url = request.getfixturevalue("new_database")()
        known = psycopg.conninfo.conninfo_to_dict(url)
        own = {
            "host": known["host"],
            "port": 5432,
            "database": known["dbname"],
            "user": "postgres",
            "password": "x",
        }
        config = {"url": url} if kind != name else own
    return {
        "type": kind if kind == name else f"feature_repo.packed.{name}.Packed{title}OnlineStore",
        **config,
    }


def configuration(kind: str, folder: Path, request: pytest.FixtureRequest) -> dict[str, object]:
    packed = kind.startswith("packed")
    return {
        # Redis is one for all tests: what is in it is kept apart by the project.
        "project": f"p{zlib.crc32(str(folder).encode())}",
        "registry": str(folder / "registry.db"),
        "provider": "local",
        "offline_store": {"type": "dask"},
        "online_store": online_config(kind, folder, request),
        "batch_engine": {"type": "feature_repo.packed.engine.PackedComputeEngine" if packed else "local"},
        "entity_key_serialization_version": 3,
    }


@pytest.fixture(
    scope="module", params=[*STORES, *(f"packed {name}" for name in STORES), "packed redis_cluster"]
)
def kind(request) -> str:
    return request.param


def opened(kind: str, folder: Path, request: pytest.FixtureRequest) -> FeatureStore:
    """A store with everything registered and nothing online."""
    for name, table in frames().items():
        pq.write_table(table, folder / f"{name}.parquet")
    store = FeatureStore(config=RepoConfig(**configuration(kind, folder, request)))
    store.apply(definitions(folder))
    request.addfinalizer(store.teardown)
    return store


def materialize(store: FeatureStore) -> None:
    store.materialize(NOW - timedelta(days=30), NOW + timedelta(days=1))


@pytest.fixture
def empty_store(kind, tmp_path, request) -> FeatureStore:
    """A store of the test's own with everything registered and nothing online."""
    return opened(kind, tmp_path, request)


@pytest.fixture
def own_store(empty_store) -> FeatureStore:
    """The same with all views materialized."""
    materialize(empty_store)
    return empty_store


@pytest.fixture(scope="module")
def store(kind, tmp_path_factory, request) -> FeatureStore:
    """A store with all views materialized, for tests that only read."""
    store = opened(kind, tmp_path_factory.mktemp("store"), request)
    materialize(store)
    return store


def statuses(response) -> dict[str, list[str]]:
    names = response.proto.metadata.feature_names.val
    label = response.proto.results[0].DESCRIPTOR.fields_by_name["statuses"].enum_type.values_by_number
    return {
        name: [label[status].name for status in vector.statuses]
        for name, vector in zip(names, response.proto.results, strict=True)
    }


@pytest.mark.parametrize("name", TYPES)
def test_every_type_comes_back_as_it_was(store, name):
    rows = [{"number": number} for number in (3, 1, 2)]
    response = store.get_online_features([f"kinds:{name}"], rows)
    values = response.to_dict()[name]
    _, arrow, expected = TYPES[name]
    wanted = pa.array(expected, arrow).to_pylist()
    if name in ("mapping", "document"):
        wanted = [None if value is None else json.loads(value) for value in wanted]
    assert response.to_dict()["number"] == [3, 1, 2]
    np.testing.assert_equal(values, [wanted[2], wanted[0], wanted[1]])
    assert [type(value) for value in values] == [type(wanted[at]) for at in (2, 0, 1)]
    assert statuses(response)[name] == ["PRESENT"] * 3


def test_all_types_in_one_read_are_the_same_as_protobufs(store):
    rows = [{"number": number} for number in (1, 2, 3, 4)]
    response = store.get_online_features([f"kinds:{name}" for name in TYPES], rows)
    by_name = dict(zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True))
    assert by_name.keys() == {"number", *TYPES}
    assert by_name["float32"].values[0].float_val == np.float32(0.1)
    assert by_name["texts"].values[0].string_list_val.val == ["a", "ü", ""]
    assert by_name["moment"].values[0].unix_timestamp_val == int(NOW.timestamp())
    assert all(
        vector.values[3].WhichOneof("val") is None for name, vector in by_name.items() if name != "number"
    )
    assert by_name["flag"].event_timestamps[0].seconds == int(NOW.timestamp())
    assert by_name["flag"].event_timestamps[3].seconds == 0


@pytest.mark.parametrize("rows", [1, 4])
def test_unknown_entities_have_no_features(store, kind, rows):
    names = ["nobody", "1\x00", "u" * 99, "mar"][:rows]
    response = store.get_online_features(
        ["plain:score", "plain:label"], [{"user_id": name} for name in names]
    )
    assert response.to_dict() == {"user_id": names, "score": [None] * rows, "label": [None] * rows}
    # Feast's own Redis store says of an unknown entity that its null is present.
    assert statuses(response)["score"] == ["PRESENT" if kind == "redis" else "NOT_FOUND"] * rows


def test_hostile_keys_are_told_apart_repeated_ones_repeat(store):
    names = [*reversed(HOSTILE), "1", "1"]
    answer = store.get_online_features(["plain:score"], [{"user_id": name} for name in names]).to_dict()
    assert answer["score"] == [float(HOSTILE.index(name)) for name in names]


def test_composite_keys_are_not_mixed_up(store):
    rows = [{"number": 1, "user_id": "11"}, {"number": 11, "user_id": "1"}, {"number": 11, "user_id": "11"}]
    answer = store.get_online_features(["pairs:affinity"], rows).to_dict()
    assert answer == {"number": [1, 11, 11], "user_id": ["11", "1", "11"], "affinity": [0.5, 0.25, None]}


def test_a_view_without_entity_has_one_value(store):
    answer = store.get_online_features(
        ["whole:total", "plain:score"], [{"user_id": "1"}, {"user_id": "ü"}]
    ).to_dict()
    assert answer["total"] == [7, 7]


def test_several_views_in_one_request_by_columns_with_full_names(store):
    answer = store.get_online_features(
        ["pairs:affinity", "plain:label", "kinds:text", "plain:score"],
        {"user_id": ["1", "no"], "number": [11, 2]},
        full_feature_names=True,
    ).to_dict(include_event_timestamps=True)
    assert answer["pairs__affinity"] == [0.25, None]
    assert answer["plain__label"] == ["label of '1'", None]
    assert answer["kinds__text"] == [None, "ü'\""]
    assert answer["plain__score__ts"] == [int(NOW.timestamp()), 0]
    assert answer["pairs__affinity__ts"] == [int(NOW.timestamp()), 0]


def test_a_key_that_the_views_do_not_need_comes_back_and_what_is_no_key_does_not(store):
    rows = [{"user_id": "1", "number": 5, "colour": "red"}]
    answer = store.get_online_features(["plain:score"], rows).to_dict()
    assert answer == {"user_id": ["1"], "number": [5], "score": [0.0]}


def test_a_missing_key_is_an_error(store):
    with pytest.raises(KeyError, match="user_id"):
        store.get_online_features(["plain:score"], [{"colour": "red"}])


def test_feature_services_name_features_of_several_views(store):
    rows = [{"user_id": "1", "number": 11, "size": 3.0}, {"user_id": "11", "number": 1, "size": 2.0}]
    answer = store.get_online_features(store.get_feature_service("service"), rows).to_dict()
    assert answer == {
        "user_id": ["1", "11"],
        "number": [11, 1],
        "label": ["label of '1'", "label of '11'"],
        "affinity": [0.25, 0.5],
        "scaled": [0.0, 2.0],
    }
    answer = store.get_online_features(
        store.get_feature_service("simple"), [{"user_id": "11"}], full_feature_names=True
    ).to_dict()
    assert answer == {
        "user_id": ["11"],
        "plain__score": [1.0],
        "plain__label": ["label of '11'"],
        "everything__total": [7],
    }


def test_on_demand_views_compute_from_what_is_stored(store):
    answer = store.get_online_features(
        ["scaled_python:scaled", "raised_pandas:raised"], {"user_id": ["11", "ü"], "size": [0.5, 10.0]}
    ).to_dict()
    assert answer == {"user_id": ["11", "ü"], "scaled": [0.5, 30.0], "raised": [1.5, 13.0]}


def pushed(names, scores, time=NOW + timedelta(hours=1)) -> pd.DataFrame:
    return pd.DataFrame(
        {"user_id": names, "score": np.array(scores, "float32"), "label": "pushed", "event_timestamp": time}
    )


def test_a_push_is_readable_at_once_also_before_anything_was_materialized(empty_store):
    empty_store.push("plain_push", pushed(["1", "new"], [70, 71]), to=PushMode.ONLINE)
    rows = [{"user_id": name} for name in ("1", "new", "11")]
    answer = empty_store.get_online_features(["plain:score", "plain:label"], rows).to_dict()
    assert answer["score"] == [70.0, 71.0, None]
    assert answer["label"] == ["pushed", "pushed", None]


def test_a_row_written_online_replaces_the_whole_row(own_store):
    own_store.write_to_online_store("plain", pushed(["1"], [np.nan]))
    answer = own_store.get_online_features(
        ["plain:score", "plain:label"], [{"user_id": "1"}, {"user_id": "11"}]
    )
    assert answer.to_dict()["score"] == [None, 1.0]
    assert answer.to_dict()["label"] == ["pushed", "label of '11'"]
    assert statuses(answer)["score"] == ["PRESENT", "PRESENT"]


def test_materializing_incrementally_brings_only_what_is_newer(empty_store, tmp_path):
    empty_store.materialize_incremental(NOW + timedelta(days=1), feature_views=["plain"])
    later = frames()["plain"].slice(0, 2)
    later = later.set_column(
        1, "event_timestamp", pa.array([NOW + timedelta(days=2)] * 2, pa.timestamp("us", "UTC"))
    )
    later = later.set_column(2, "score", pa.array([50, 51], pa.float32()))
    pq.write_table(pa.concat_tables([frames()["plain"], later]), tmp_path / "plain.parquet")
    empty_store.materialize_incremental(NOW + timedelta(days=3), feature_views=["plain"])
    rows = [{"user_id": name} for name in ("1", "11", "ü")]
    assert empty_store.get_online_features(["plain:score"], rows).to_dict()["score"] == [50.0, 51.0, 3.0]


def test_what_is_torn_down_is_forgotten(own_store, tmp_path):
    own_store.teardown()
    own_store.apply(definitions(tmp_path))
    assert own_store.get_online_features(["plain:score"], [{"user_id": "1"}]).to_dict()["score"] == [None]


def test_a_view_that_is_deleted_is_forgotten(own_store, tmp_path):
    plain = own_store.get_feature_view("pairs")
    keep = [thing for thing in definitions(tmp_path) if thing.name not in ("pairs", "service")]
    gone = [own_store.get_feature_service("service"), plain]
    own_store.apply(keep, objects_to_delete=gone, partial=False)
    own_store.apply(definitions(tmp_path))
    answer = own_store.get_online_features(["pairs:affinity"], [{"user_id": "1", "number": 11}]).to_dict()
    assert answer["affinity"] == [None]


@pytest.fixture
def server(own_store, tmp_path):
    """The URL of a ``feast serve`` on the same own_store."""
    config = {
        key: value for key, value in own_store.config.model_dump(by_alias=True).items() if value is not None
    }
    wanted = (
        "project",
        "registry",
        "provider",
        "offline_store",
        "online_store",
        "entity_key_serialization_version",
    )
    config = {name: config[name] for name in wanted} | {"registry": str(tmp_path / "registry.db")}
    config["offline_store"] = {"type": "dask"}
    config["online_store"] = dict(own_store.config.online_config)
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = Path(__file__).resolve().parents[2]
    quiet = ["--workers", "1", "--no-access-log"]
    process = subprocess.Popen(
        [
            Path(sys.executable).with_name("feast"),
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            *quiet,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)  # noqa: S310
            break
        except OSError:
            assert process.poll() is None, "feast serve ended"
            assert time.monotonic() < deadline, "feast serve does not answer"
            time.sleep(0.2)
    yield url
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def post(url, body):
    request = urllib.request.Request(  # noqa: S310
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return json.loads(urllib.request.urlopen(request, timeout=60).read() or b"null")  # noqa: S310


def test_feast_serve_answers_over_http_and_takes_pushes(server):
    frame = pushed(["new"], [5]).assign(event_timestamp=str(NOW))
    post(f"{server}/push", {"push_source_name": "plain_push", "df": frame.to_dict("list"), "to": "online"})
    answer = post(
        f"{server}/get-online-features",
        {
            "features": ["plain:score", "plain:label", "scaled_python:scaled"],
            "entities": {"user_id": ["11", "new", "nobody"], "size": [2.0, 2.0, 2.0]},
        },
    )
    results = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    assert results["score"]["values"] == [1.0, 5.0, None]
    assert results["label"]["values"] == ["label of '11'", "pushed", None]
    assert results["scaled"]["values"][:2] == [2.0, 10.0]
    assert results["score"]["statuses"][:2] == ["PRESENT", "PRESENT"]
