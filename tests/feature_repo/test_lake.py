import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo import lake
from feature_repo.schema import SchemaError, conform

NOON = pd.Timestamp("2020-01-01 12:00", tz="UTC")


def ratings(*ids, rating=4.0):
    return pd.DataFrame(
        {
            "rating_id": list(ids),
            "user_id": "u",
            "rental_id": "r",
            "rating": rating,
            "source_rating": rating,
            "purpose": None,
            "size": 14.0,
            "event_timestamp": NOON,
            "arrived_at": NOON,
        }
    )


def test_a_batch_written_twice_is_there_once(tmp_path):
    for _ in range(2):
        assert lake.append(tmp_path, "ratings", "one", ratings("a", "b")) == 2
    assert sorted(lake.read(tmp_path, "ratings").rating_id) == ["a", "b"]


def test_twins_in_one_batch_count_once(tmp_path):
    twins = ratings("a", "b", "a").assign(rating=[1.0, 2.0, 3.0])
    assert lake.append(tmp_path, "ratings", "one", twins) == 2
    assert lake.read(tmp_path, "ratings").set_index("rating_id")["rating"].to_dict() == {"a": 1.0, "b": 2.0}


def test_overlapping_batches_count_nothing_twice(tmp_path):
    lake.append(tmp_path, "ratings", "one", ratings("a", "b"))
    assert lake.append(tmp_path, "ratings", "two", ratings("b", "c")) == 1
    assert sorted(lake.read(tmp_path, "ratings").rating_id) == ["a", "b", "c"]


def test_reading_until_a_time_leaves_later_rows_out(tmp_path):
    lake.append(tmp_path, "ratings", "one", ratings("a"))
    assert lake.read(tmp_path, "ratings", until=NOON).empty
    assert len(lake.read(tmp_path, "ratings", until=NOON + pd.Timedelta("1us"))) == 1
    assert lake.clock(tmp_path) == pd.Timestamp("2020-01-02", tz="UTC")


def test_a_rating_is_there_once_it_has_happened_and_arrived(tmp_path):
    day = pd.Timedelta(days=1)
    late = ratings("prompt", "late").assign(arrived_at=[NOON, NOON + day])
    lake.append(tmp_path, "ratings", "one", late)
    assert lake.read(tmp_path, "ratings", until=NOON + day).rating_id.tolist() == ["prompt"]
    assert len(lake.read(tmp_path, "ratings", until=NOON + day + pd.Timedelta("1us"))) == 2
    assert lake.clock(tmp_path) == pd.Timestamp("2020-01-03", tz="UTC")


def test_an_empty_batch_does_not_stop_the_clock(tmp_path):
    lake.append(tmp_path, "ratings", "one", ratings("a"))
    for name in ("0", "two"):
        assert lake.append(tmp_path, "ratings", name, ratings("a")) == 0
    assert lake.clock(tmp_path) == pd.Timestamp("2020-01-02", tz="UTC")


def test_the_clock_is_not_ahead_of_the_present(tmp_path):
    frame = ratings("a").assign(event_timestamp=pd.Timestamp.now("UTC"), arrived_at=pd.Timestamp.now("UTC"))
    lake.append(tmp_path, "ratings", "first", frame)
    assert frame["arrived_at"].max() < lake.clock(tmp_path) <= pd.Timestamp.now("UTC")


def test_ratings_written_before_they_had_an_arrival_are_known_when_they_happen(tmp_path):
    old = conform(ratings("old"), "ratings").drop_columns("arrived_at")
    (tmp_path / "ratings").mkdir()
    pq.write_table(old, tmp_path / "ratings" / "old.parquet")
    lake.append(tmp_path, "ratings", "new", ratings("new").assign(arrived_at=NOON + pd.Timedelta(hours=1)))
    read = lake.read(tmp_path, "ratings").set_index("rating_id")
    assert (read.arrived_at - read.event_timestamp).to_dict() == {
        "old": pd.Timedelta(0),
        "new": pd.Timedelta(hours=1),
    }
    assert str(read.arrived_at.dtype) == "datetime64[us, UTC]"


def test_rows_land_as_a_batch_without_a_look_at_the_others(tmp_path):
    for _ in range(2):
        lake.land(tmp_path, "ratings", "stream-1", conform(ratings("a", "b"), "ratings"))
    lake.land(tmp_path, "ratings", "stream-2", conform(ratings("c"), "ratings"))
    assert lake.read(tmp_path, "ratings").rating_id.tolist() == ["a", "b", "c"]
    assert lake.append(tmp_path, "ratings", "file", ratings("a", "d")) == 1
    assert sorted(path.name for path in (tmp_path / "ratings").iterdir()) == [
        "file.parquet",
        "stream-1.parquet",
        "stream-2.parquet",
    ]


def test_rows_of_another_table_do_not_land(tmp_path):
    with pytest.raises(ValueError, match="rating_id"):
        lake.land(tmp_path, "ratings", "one", pa.table({"user_id": ["u"]}))
    assert not tables(tmp_path)


def test_the_hash_knows_content_and_not_order(tmp_path):
    frame = ratings("a", "b")
    assert lake.snapshot_hash(frame) == lake.snapshot_hash(frame.iloc[::-1])
    assert lake.snapshot_hash(frame) != lake.snapshot_hash(frame.assign(rating=3.0))


def test_an_empty_lake_says_what_to_do(tmp_path):
    with pytest.raises(lake.LakeError, match="make features"):
        lake.read(tmp_path, "ratings")


def test_one_lake_holds_one_dataset(tmp_path):
    lake.claim(tmp_path, "generator")
    lake.claim(tmp_path, "generator")
    with pytest.raises(lake.LakeError, match=r"'generator', not 'rent_the_runway'.*RENTALS_HOME"):
        lake.claim(tmp_path, "rent_the_runway")


def test_no_room_and_no_permission_are_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(lake, "MINIMUM_FREE_BYTES", 10**18)
    with pytest.raises(lake.LakeError, match="free some space or set RENTALS_HOME"):
        lake.check_room(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(lake.LakeError, match="set RENTALS_HOME to a folder of yours"):
        lake.check_room(tmp_path / "file" / "below")


def tables(folder):
    return [
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name[0] != "."
    ]


def test_a_failed_replacement_leaves_the_old_table(tmp_path):
    target = tmp_path / "table"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError, match="half-way"), lake.replacing(target) as folder:
        folder.mkdir()
        (folder / "new").touch()
        raise RuntimeError("half-way")
    assert tables(tmp_path) == ["table/old"]
    with pytest.raises(FileNotFoundError), lake.replacing(target):
        pass  # nothing was written
    assert tables(tmp_path) == ["table/old"]
    with lake.replacing(target) as folder:
        folder.mkdir()
        (folder / "new").touch()
    assert tables(tmp_path) == ["table/new"]


def test_a_replacement_killed_half_way_is_repaired(tmp_path):
    (tmp_path / ".table.old").mkdir()
    (tmp_path / ".table.old" / "old").touch()
    (tmp_path / ".table.new").mkdir()
    with pytest.raises(RuntimeError, match="again"), lake.replacing(tmp_path / "table"):
        raise RuntimeError("again")
    assert tables(tmp_path) == ["table/old"]


def test_two_runs_do_not_replace_the_same_table_at_once(tmp_path):
    with lake.replacing(tmp_path / "table") as folder:
        folder.mkdir()
        with (
            pytest.raises(lake.LakeError, match="another run is writing"),
            lake.replacing(tmp_path / "table"),
        ):
            raise AssertionError("both were let in")
    assert (tmp_path / "table").is_dir()


def test_a_contract_names_every_fault_at_once():
    frame = ratings("a").rename(columns={"purpose": "why"}).assign(rating="four", user_id=None)
    with pytest.raises(SchemaError) as error:
        conform(frame, "ratings")
    for fault in (
        "'purpose' is missing and 'why' not known",
        "'rating' is not double",
        "'user_id' holds 1 nulls",
    ):
        assert fault in str(error.value)


@pytest.mark.parametrize("absent", [["size"], ["size", "purpose", "source_rating"]])
def test_optional_columns_may_be_absent_and_are_null(tmp_path, absent):
    frame = ratings("a", "b").drop(columns=absent).assign(source_text="a line")
    lake.append(tmp_path, "ratings", "one", frame)
    rows = lake.read(tmp_path, "ratings")
    assert rows[absent].isna().all(axis=None)
    assert rows["rating"].tolist() == [4.0, 4.0]


def test_an_absent_column_is_a_fault_beside_one_that_nobody_knows():
    with pytest.raises(SchemaError, match=r"'size' is missing and 'Size', 'fit' not known$"):
        conform(ratings("a").rename(columns={"size": "Size"}).assign(fit="small"), "ratings")
    assert conform(ratings("a").assign(fit="small"), "ratings").num_rows == 1, "nothing is absent"


def test_a_column_that_must_be_there_may_not_be_absent():
    with pytest.raises(SchemaError, match=r"'rating' is missing$"):
        conform(ratings("a").drop(columns=["rating", "size"]), "ratings")


def test_a_lake_of_before_sizes_were_kept_has_none(tmp_path):
    lake.append(tmp_path, "ratings", "new", ratings("b"))
    old = pq.read_table(tmp_path / "ratings" / "new.parquet").drop_columns("size")
    pq.write_table(
        old.set_column(0, old.schema.field("rating_id"), pa.array(["a"])),
        tmp_path / "ratings" / "old.parquet",
    )
    assert lake.read(tmp_path, "ratings").set_index("rating_id")["size"].fillna(-1).to_dict() == {
        "a": -1,
        "b": 14.0,
    }


LOCAL = pd.Timestamp("2020-01-01 12:00")


@pytest.mark.parametrize(
    "times", [LOCAL, [LOCAL.to_pydatetime(), NOON], 1_577_836_800, "2020-01-01T12:00:00Z"]
)
def test_what_is_no_time_with_a_zone_is_refused_and_not_taken_as_utc(times):
    with pytest.raises(
        SchemaError, match=r"'event_timestamp' holds . values that are no times with a time zone.*tz_localize"
    ):
        conform(ratings("a", "b").assign(event_timestamp=pd.Series(times, index=[0, 1])), "ratings")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_time_of_any_zone_is_the_same_moment(zone):
    for times in (NOON.tz_convert(zone), pd.Series([NOON.tz_convert(zone)], dtype=object)):
        rows = conform(ratings("a").assign(event_timestamp=times), "ratings")
        assert rows["event_timestamp"].to_pylist() == [NOON.to_pydatetime()]


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("rating", float("inf"), "'rating' holds 1 infinite numbers"),
        ("rating", float("nan"), "'rating' holds 1 nulls"),
        ("rating", 10**400, "'rating' is not double"),
        ("source_rating", -float("inf"), "'source_rating' holds 1 infinite numbers"),
        ("size", float("inf"), "'size' holds 1 infinite numbers"),
        ("size", "14", "'size' is not double"),
        ("user_id", "\ud800", "'user_id' is not string"),
        ("user_id", 4.0, "'user_id' is not string"),
        ("arrived_at", None, "'arrived_at' holds 1 nulls"),
    ],
)
def test_values_that_would_corrupt_a_feature_break_the_contract(column, value, fault):
    with pytest.raises(SchemaError, match=fault):
        conform(ratings("a").assign(**{column: pd.Series([value], dtype=object)}), "ratings")
