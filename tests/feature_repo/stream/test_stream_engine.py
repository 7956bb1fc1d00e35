"""What the engine does with micro-batches, with time, and with a lake that others write to; without Spark."""

import json
from datetime import timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest

from feature_repo import lake
from feature_repo.stream import StreamError, inbox, landing, quarantine
from feature_repo.stream import engine as engine_module
from feature_repo.stream.events import Line
from tests.feature_repo.stream.conftest import START, event, lines, online

pytestmark = pytest.mark.slow


def settle(engine):
    while engine.tick():
        pass


def landed(engine):
    return lake.read(engine._settings.lake, "ratings").set_index("rating_id").sort_index()


def is_at(moment, wanted):
    """Whether it is that moment, or one of the microseconds after it that tell moments apart."""
    return wanted <= moment < wanted + timedelta(microseconds=100)


def test_an_event_is_online_at_once_and_in_the_lake_after_a_clean_stop(stream, clock):
    engine = stream()
    assert engine.process("1", lines(event("a", clock.now, "11", "1", 2.0))).accepted == 1
    found = online(engine._settings, "user_features", "11")
    assert found["user_rentals_7d"] == 1
    assert found["user_rating_mean_all"] == 2.0
    assert found["user_price_mean"] == pytest.approx(9.99)
    assert found["user_weight_kg"] == pytest.approx(61.3)
    assert online(engine._settings, "purpose_features", "party")["purpose_rentals_all"] == 1
    engine.close()
    row = landed(engine).loc["a"]
    assert (row.user_id, row.rating, row.source_rating) == ("11", 2.0, 2.0)
    assert is_at(row.arrived_at, clock.now)


def test_a_user_and_a_rental_that_nobody_knows_have_activity_but_no_profile(stream, clock):
    engine = stream()
    engine.process("1", lines(event("a", clock.now, "new", "unlisted")))
    user = online(engine._settings, "user_features", "new")
    assert (user["user_rentals_all"], user["user_age"], user["user_segment"]) == (1, None, None)
    assert online(engine._settings, "rental_features", "unlisted")["rental_category"] is None


def test_a_rating_counts_once_however_often_it_comes(stream, clock):
    engine = stream()
    one = event("a", clock.now)
    assert engine.process("1", lines(one, one)).repeated == 1
    assert engine.process("2", lines(one)).repeated == 1
    engine.close()
    engine = stream()
    assert engine.process("3", lines(one, event("b", clock.now))).accepted == 1
    assert online(engine._settings, "user_features", "1")["user_rentals_all"] == 2
    engine.close()
    assert landed(engine).index.tolist() == ["a", "b"]


def test_of_different_events_with_one_id_the_earliest_counts_in_any_order(stream, clock):
    earlier = event("a", clock.now - timedelta(hours=1), rating=1.0)
    engine = stream()
    engine.process("1", lines(event("a", clock.now, rating=5.0), earlier))
    engine.close()
    assert landed(engine).loc["a", "rating"] == 1.0


def test_bad_lines_are_kept_with_their_reason_and_stop_nothing(stream, clock):
    engine = stream()
    good = event("good", clock.now)
    bad = {
        b'{"rating_id": "half': "EOF",
        b"\xff\xfe": "JSON",
        b"x" * 1_000_000: "1,000,000 bytes",
        json.dumps([good]).encode(): "object",
        json.dumps({**good, "rating": 5.5}).encode(): "rating",
        json.dumps({**good, "rating": True}).encode(): "rating",
        json.dumps({**good, "rating": float("nan")}).encode(): "",
        json.dumps({**good, "user_id": " "}).encode(): "blank",
        json.dumps({**good, "user_id": "a\x00b"}).encode(): "control characters",
        json.dumps({**good, "rental_id": "\ud800"}).encode(): "",
        json.dumps({**good, "rental_id": "x" * 129}).encode(): "128",
        json.dumps({**good, "purpse": "party"}).encode(): "purpse",
        json.dumps({**good, "size": "14"}).encode(): "size",
        json.dumps({**good, "size": True}).encode(): "size",
        json.dumps({**good, "size": -1}).encode(): "size: Input should be greater than or equal to 0",
        json.dumps({**good, "size": 1e300}).encode(): "size: Input should be less than or equal to 10000",
        json.dumps({**good, "size": float("nan")}).encode(): "",
        json.dumps({**good, "size": float("-inf")}).encode(): "",
        json.dumps({**good, "event_timestamp": "2020-01-01T00:00:00"}).encode(): "timezone",
        json.dumps({**good, "event_timestamp": 1577836800}).encode(): "ISO 8601",
        json.dumps(event("ahead", clock.now + timedelta(minutes=6))).encode(): "in the future",
    }
    outcome = engine.process("1", [Line(b"", "f"), *[Line(text, "f") for text in bad], *lines(good)])
    assert (outcome.accepted, outcome.quarantined) == (1, len(bad))
    (file,) = quarantine.folder(engine._settings).iterdir()
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    for row, (text, reason) in zip(kept, bad.items(), strict=True):
        assert row["text"] == text.decode("utf-8", "backslashreplace")
        assert reason in row["reason"]
        assert row["reason"]
    assert engine.counts() == {"accepted": 1, "repeated": 0, "quarantined": len(bad)}


def test_the_chosen_size_is_counted_and_lands(stream, clock):
    engine = stream()
    chosen = [event(f"{size}", clock.now, size=size) for size in (14, 0.1, None)]
    unsaid = event("unsaid", clock.now)
    del unsaid["size"]
    engine.process("1", lines(*chosen, unsaid))
    for view, key in (("user_features", "user"), ("rental_features", "rental")):
        assert online(engine._settings, view, "1")[f"{key}_size_counts"] == '{"0.1":1,"14":1}'
    engine.close()
    assert landed(engine)["size"].fillna(-1).to_dict() == {"0.1": 0.1, "14": 14.0, "None": -1, "unsaid": -1}


def test_the_last_rentals_are_those_that_happened_last_whenever_they_arrive(stream, clock):
    engine = stream()
    days = [3, 1, 1, 5, 2, 4]
    for place, (rental, day) in enumerate(zip(["a", "c", "b", "d", "a", "d"], days, strict=True)):
        engine.process(f"{place}", lines(event(f"{place}", clock.now - timedelta(days=day), "11", rental)))
    assert online(engine._settings, "user_features", "11")["user_recent_rentals"] == '["c","b","a","d"]'


def test_what_an_earlier_version_took_in_and_did_not_land_is_landed_without_a_size(stream, clock):
    engine = stream()
    engine.process("1", lines(event("old", clock.now, size=4)))
    connection = engine._database._connection
    connection.execute("ALTER TABLE journal DROP COLUMN size")
    connection.execute("ALTER TABLE running DROP COLUMN recent")
    engine._database.note(definition="an earlier one")
    connection.close()
    engine = stream()
    engine.process("2", lines(event("new", clock.now, size=4)))
    assert online(engine._settings, "user_features", "1")["user_rentals_all"] == 2
    engine.close()
    assert landed(engine)["size"].fillna(-1).to_dict() == {"new": 4.0, "old": -1}


def test_a_lake_of_before_sizes_were_kept_has_none(stream, clock):
    engine = stream()
    lake.append(engine._settings.lake, "ratings", "export", rating("old", START))
    file = engine._settings.lake / "ratings" / "export.parquet"
    pq.write_table(pq.read_table(file).drop_columns("size"), file)
    engine.process("1", lines(event("new", clock.now, size=8)))
    found = online(engine._settings, "user_features", "1")
    assert (found["user_rentals_all"], found["user_size_counts"]) == (2, '{"8":1}')


@pytest.mark.parametrize("name", ["a:b", "a/b", "'; DROP TABLE seen; --", '"', "ü 😀", "../../x", "%00"])
def test_hostile_ids_are_ids(stream, clock, name):
    engine = stream()
    engine.process("1", lines(event(name, clock.now, name, name, purpose=name)))
    assert online(engine._settings, "user_features", name)["user_rentals_all"] == 1
    assert json.loads(online(engine._settings, "user_features", name)["user_purpose_counts"]) == {name: 1}
    engine.close()
    assert landed(engine).loc[name, "user_id"] == name


def test_an_event_of_a_clock_that_is_a_little_ahead_counts_as_of_its_arrival(stream, clock):
    engine = stream()
    engine.process("1", lines(event("a", clock.now + timedelta(minutes=4))))
    engine.close()
    assert is_at(landed(engine).loc["a", "event_timestamp"], clock.now)


def test_arrivals_grow_even_while_the_clock_stands_or_goes_back(stream, clock):
    engine = stream()
    for number in range(3):
        engine.process(str(number), lines(event(str(number), START)))
        clock.now -= timedelta(seconds=10)
    engine.close()
    arrived = landed(engine)["arrived_at"].tolist()
    assert arrived[0] < arrived[1] < arrived[2]
    assert online(engine._settings, "user_features", "1")["user_rentals_all"] == 3


def test_windows_expire_online_while_nobody_rents(stream, clock):
    engine = stream()
    engine.process("1", lines(event("a", clock.now)))
    settle(engine)
    clock.now = START + timedelta(days=7, hours=23)
    settle(engine)
    assert online(engine._settings, "user_features", "1")["user_rentals_7d"] == 1
    clock.now = START + timedelta(days=8)
    settle(engine)
    for view, prefix, key in (("user_features", "user", "1"), ("category_features", "category", "x")):
        found = online(engine._settings, view, key)
        assert (found[f"{prefix}_rentals_7d"], found[f"{prefix}_rentals_30d"]) == (0, 1)


def test_more_keys_than_expire_at_once_expire_all(stream, clock, monkeypatch):
    monkeypatch.setattr(engine_module, "KEYS_AT_ONCE", 2)
    engine = stream()
    engine.process("1", lines(*[event(str(number), clock.now, f"u{number}") for number in range(7)]))
    clock.now += timedelta(days=9)
    settle(engine)
    for number in range(7):
        assert online(engine._settings, "user_features", f"u{number}")["user_rentals_7d"] == 0


def test_a_batch_that_is_repeated_after_a_crash_has_the_arrival_that_it_had(stream, clock, monkeypatch):
    engine = stream()
    engine.process("0", lines(event("before", clock.now)))
    first = clock.now

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine._database, "enter", killed)
        with pytest.raises(KeyboardInterrupt):
            engine.process("1", lines(event("a", clock.now)))
    assert not engine.is_settled()
    clock.now += timedelta(days=20)
    engine = stream()
    settle(engine)
    engine.process("1", lines(event("a", first)))
    engine.close()
    assert is_at(landed(engine).loc["a", "arrived_at"], first)


def test_a_batch_that_was_finished_changes_nothing_when_it_is_repeated(stream, clock):
    engine = stream()
    bad = [Line(b"{", "f")]
    engine.process("1", bad)
    engine = stream()
    assert engine.is_done("1")
    engine.process("1", bad)
    assert engine.counts()["quarantined"] == 1


def test_a_landing_that_was_interrupted_lands_each_event_once(stream, clock, monkeypatch):
    for step in ("land", "strike"):
        engine = stream()
        engine.process(step, lines(event(step, clock.now)))
        with monkeypatch.context() as patch:
            target = landing.lake if step == "land" else engine._database
            patch.setattr(target, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                engine.land()
        engine = stream()
        engine.process(f"{step} again", lines(event(f"{step} later", clock.now)))
        engine.land()
    assert landed(engine).index.tolist() == ["land", "land later", "strike", "strike later"]
    assert online(engine._settings, "user_features", "1")["user_rentals_all"] == 4


def rating(rating_id, happened):
    row = event(rating_id, happened) | {"source_rating": 4.0}
    time = pd.Timestamp(happened)
    return pd.DataFrame([row]).assign(event_timestamp=time, arrived_at=time)


def test_a_landing_that_failed_after_its_file_does_not_empty_the_file_later(stream, clock, monkeypatch):
    engine = stream()
    engine.process("1", lines(event("a", clock.now)))
    with monkeypatch.context() as patch:
        patch.setattr(landing, "mark", lambda path: (_ for _ in ()).throw(OSError(path)))
        with pytest.raises(OSError, match="stream-"):
            engine.land()
    engine.close()
    stream().close()
    assert landed(engine).index.tolist() == ["a"]


def test_an_event_that_a_batch_brought_while_its_landing_was_interrupted_counts_once(
    stream, clock, monkeypatch
):
    engine = stream()
    engine.process("1", lines(event("a", clock.now)))
    with monkeypatch.context() as patch:
        patch.setattr(lake, "land", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            engine.land()
    engine._database.close()
    lake.append(engine._settings.lake, "ratings", "export", rating("a", START))
    stream().close()
    assert landed(engine).index.tolist() == ["a"]


def test_a_beginning_after_a_rating_does_not_hide_the_rating(stream, clock):
    engine = stream()
    listing = {"rental_id": "late", "category": "x", "area": None, "price": 5.0, "capacity": 4.0}
    listed = pd.DataFrame([listing]).assign(listed_at=pd.Timestamp(START + timedelta(hours=2)))
    lake.append(engine._settings.lake, "ratings", "export", rating("a", START + timedelta(hours=1)))
    lake.append(engine._settings.lake, "rentals", "second", listed)
    clock.now = START + timedelta(hours=5)
    engine.tick()
    found = online(engine._settings, "category_features", "x")
    assert (found["category_rentals_all"], found["category_rentals_7d"]) == (1, 1)
    assert found["category_price_mean"] == pytest.approx((9.99 + 5.0) / 2)


def test_events_wait_for_the_lake_and_make_few_files(stream, clock):
    engine = stream()
    for number in range(20):
        clock.now += timedelta(minutes=5)
        engine.process(str(number), lines(event(str(number), clock.now)))
        engine.tick()
    assert not list((engine._settings.lake / "ratings").glob("*"))
    clock.now = START + timedelta(days=1)
    engine.tick()
    assert len(list((engine._settings.lake / "ratings").glob("*.parquet"))) == 1
    assert len(landed(engine)) == 20


def ratings(*events):
    frame = pd.DataFrame(events)
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], utc=True)
    return frame.assign(arrived_at=frame["event_timestamp"], source_rating=frame["rating"])


@pytest.mark.parametrize("is_live", [True, False])
def test_a_batch_that_somebody_else_lands_is_counted_from_then_on(stream, clock, is_live):
    engine = stream()
    engine.process("1", lines(event("streamed", clock.now)))
    if not is_live:
        engine.close()
    taken = [event("loaded", START), event("streamed", clock.now), event("soon", START, "11")]
    taken[2]["event_timestamp"] = (clock.now + timedelta(hours=2)).isoformat()
    lake.append(engine._settings.lake, "ratings", "loaded", ratings(*taken))
    engine = engine if is_live else stream()
    outcome = engine.process("2", lines(event("loaded", clock.now), event("more", clock.now)))
    assert (outcome.accepted, outcome.repeated) == (1, 1)
    assert online(engine._settings, "user_features", "1")["user_rentals_all"] == 3
    assert online(engine._settings, "user_features", "11")["user_rentals_all"] == 0
    clock.now += timedelta(hours=3)
    engine.tick()
    assert online(engine._settings, "user_features", "11")["user_rentals_all"] == 1
    engine.close()
    assert landed(engine).index.tolist() == ["loaded", "more", "soon", "streamed"]


def test_a_stopping_engine_takes_nothing_more(stream, clock):
    engine = stream()
    engine.pause()
    with pytest.raises(StreamError, match="stopping"):
        engine.process("1", lines(event("a", clock.now)))
    engine.resume()
    assert engine.process("1", lines(event("a", clock.now))).accepted == 1


def test_files_that_were_read_are_removed_and_others_are_not(stream, clock):
    engine = stream()
    for name in ("a", "b"):
        inbox.publish(engine._settings, [event(name, clock.now)])
    read, other = sorted(inbox.folder(engine._settings).iterdir())
    engine.process("1", [Line(read.read_bytes(), read.name)], {read.name: inbox.version(read)})
    assert list(inbox.folder(engine._settings).iterdir()) == [other]


def test_a_file_that_came_under_the_name_of_a_read_one_is_not_removed(stream, clock):
    engine = stream()
    folder = inbox.folder(engine._settings)
    folder.mkdir(parents=True, exist_ok=True)
    read, replaced = folder / "read.jsonl", folder / "replaced.jsonl"
    for file in (read, replaced):
        file.write_text("one\n")
    versions = {file.name: inbox.version(file) for file in (read, replaced)}
    replaced.write_text("another\n")
    engine.process("1", lines(event("a", clock.now)), versions)
    assert [file.name for file in folder.iterdir()] == ["replaced.jsonl"]
