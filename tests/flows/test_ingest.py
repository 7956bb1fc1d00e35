"""From a source into the lake: nothing lost, nothing twice, and nothing touched by a bad batch."""

import json

import pandas as pd
import pytest

from feature_repo import lake
from feature_repo.readers import SourceError
from feature_repo.readers.generator import DRIFT_AT
from feature_repo.settings import FeatureSettings
from flows.ingest import ingest, is_wanted
from monitoring import quarantine
from monitoring.batch_quality import VolumeError
from monitoring.expectations import MostlyBadError
from monitoring.quality_history import QualityHistory

BORDER = pd.Timestamp("2016-01-05", tz="UTC")


def line(number, **changes):
    record = {
        "user_id": f"u{number}",
        "item_id": f"i{number % 3}",
        "rating": "8",
        "rented for": "party",
        "review_date": f"January {number % 9 + 1}, 2016",
        "category": "gown",
        "age": "30",
        "size": number % 20,
    }
    return json.dumps(record | changes)


def write(path, lines):
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def settings(tmp_path):
    return FeatureSettings(home=tmp_path / "home")


def test_good_rows_land_and_bad_rows_are_kept_with_a_reason(tmp_path, settings):
    lines = [line(number) for number in range(20)]
    lines += [line(20, rating=None), line(21, rating="40"), line(22, review_date="soon"), line(23, age="116")]
    landed = ingest(write(tmp_path / "d.json", [*lines, "not json"]), None, None, settings)
    assert landed.rows["ratings"] == 21
    assert landed.quarantined == {"users": 1, "rentals": 0, "ratings": 3, "unparsed": 1}
    assert landed.blanked == {"age is within 14..100": 1}
    assert "3 ratings, 1 unparsed; blanked: 1 age is within 14..100" in str(landed)
    kept = quarantine.read(settings.lake / "quarantine", "ratings")
    assert json.loads(kept["source_text"][0])["user_id"] == "u20"
    assert kept["reason"].str.len().min() > 0
    assert quarantine.read(settings.lake / "quarantine", "unparsed")["line"].tolist() == ["not json"]


def test_every_line_is_in_the_lake_or_in_quarantine_whatever_the_periods(tmp_path, settings):
    lines = [line(number) for number in range(30)] + [line(30, rating="x"), line(31, review_date="?")]
    data = write(tmp_path / "d.json", lines)
    for since, until in ((None, BORDER), (BORDER, None), (None, BORDER)):
        ingest(data, since, until, settings)
    assert len(lake.read(settings.lake, "ratings")) == 30
    assert quarantine.count(settings.lake / "quarantine")["ratings"] == 2


def test_a_second_file_adds_to_the_first(tmp_path, settings):
    first = write(tmp_path / "a.json", [line(number) for number in range(20)])
    second = write(tmp_path / "b.json", [line(number) for number in range(15, 30)] + [line(30, rating=None)])
    ingest(first, None, None, settings)
    landed = ingest(second, None, None, settings)
    assert (landed.rows["ratings"], landed.repeated["ratings"]) == (10, 5)
    assert len(lake.read(settings.lake, "ratings")) == 30


def test_a_bad_row_that_comes_again_is_kept_once(tmp_path, settings):
    data = write(
        tmp_path / "d.json", [line(n) for n in range(9)] + [line(9, rating=None), "{", line(8, rating="0")]
    )
    for since in (None, BORDER, pd.Timestamp("2016-01-02", tz="UTC")):
        ingest(data, since, None, settings)
    assert quarantine.count(settings.lake / "quarantine") == {"ratings": 2, "unparsed": 1}


def test_a_batch_that_is_mostly_bad_changes_nothing(tmp_path, settings):
    lines = [line(number, rating="99") for number in range(9)] + [line(9)]
    with pytest.raises(MostlyBadError, match="90% of 10 rows for 'ratings' are bad"):
        ingest(write(tmp_path / "d.json", lines), None, None, settings)
    assert not settings.lake.exists()


def test_a_file_of_something_else_is_refused(tmp_path, settings):
    with pytest.raises(SourceError, match=r"3 of 4 lines .* line 1 is not JSON.*is this the right file\?"):
        ingest(write(tmp_path / "d.json", ["<html>", "<p>", "</html>", line(1)]), None, None, settings)


def test_a_lake_of_another_dataset_is_not_mixed(tmp_path, settings):
    lake.claim(settings.lake, "generator")
    with pytest.raises(lake.LakeError, match="holds 'generator'"):
        ingest(write(tmp_path / "d.json", [line(1)]), None, None, settings)


def test_unreadable_attributes_are_counted_and_no_number_of_another_unit_lands(tmp_path, settings):
    lines = [line(number, height="5' 8\"", weight="137lbs") for number in range(20)]
    lines += [line(20, weight="62", height=172, age="thirty", category=["gown"], size="M")]
    lines += [
        line(21, size=-1),
        line(22, size=float("inf")),
        line(23, size=1e300),
        line(24, size=float("nan")),
    ]
    landed = ingest(write(tmp_path / "d.json", lines), None, None, settings)
    assert landed.quarantined["users"] == landed.quarantined["ratings"] == 0
    assert landed.blanked == {
        "age is a number": 1,
        "height_cm is a number": 1,
        "weight_kg is a number": 1,
        "size is a number": 2,
        "size is within 0..10000": 2,
    }
    sizes = lake.read(settings.lake, "ratings").set_index("user_id")["size"]
    assert sizes[[f"u{number}" for number in range(20)]].tolist() == list(range(20))
    assert sizes[[f"u{number}" for number in range(20, 25)]].isna().all()
    users = lake.read(settings.lake, "users").set_index("user_id")
    assert users.loc["u20", ["age", "height_cm", "weight_kg"]].isna().all()
    assert users["weight_kg"].notna().sum() == 20


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": ""}, "user_id is not blank"),
        ({"user_id": " \t"}, "user_id is not blank; user_id is free of control characters"),
        ({"item_id": "a\x00b"}, "rental_id is free of control characters"),
        ({"item_id": ["i1"]}, "rental_id is text"),
        ({"user_id": 4.5}, "user_id is text"),
        ({"rating": [8]}, "rating is a number"),
        ({"rating": float("nan")}, "rating is present"),
        ({"rating": float("inf")}, "rating is a number"),
        ({"review_date": "December 31, 2100"}, "event_timestamp is within 1970-01-01..tomorrow"),
    ],
)
def test_a_bad_field_costs_its_rating_only_and_is_named(tmp_path, settings, changes, reason):
    data = write(tmp_path / "d.json", [line(number) for number in range(20)] + [line(20, **changes)])
    assert ingest(data, None, None, settings).rows["ratings"] == 20
    kept = quarantine.read(settings.lake / "quarantine", "ratings")
    assert reason in kept["reason"][0]
    assert json.loads(kept["source_text"][0])["rented for"] == "party"


def test_users_and_rentals_with_colons_in_their_ids_land_apart(tmp_path, settings):
    ids = [("1:2", "3"), ("1", "2:3"), ("1:2", "3:")]
    lines = [line(1, user_id=user, item_id=item) for user, item in ids]
    first = write(tmp_path / "a.json", lines[:1])
    second = write(tmp_path / "b.json", lines[1:])
    assert ingest(first, None, None, settings).rows["ratings"] == 1
    landed = ingest(second, None, None, settings)
    assert (landed.rows["ratings"], landed.repeated["ratings"]) == (2, 0)


def test_a_source_whose_fields_changed_their_names_changes_nothing(tmp_path, settings):
    lines = [
        line(number).replace('"category"', '"kind"').replace('"rating"', '"stars"') for number in range(9)
    ]
    with pytest.raises(SourceError, match=r"no line has 'rating' .*no line has 'category' .*: kind, stars"):
        ingest(write(tmp_path / "d.json", lines), None, None, settings)
    assert not settings.lake.exists()


def test_what_happened_before_a_period_and_arrived_in_it_lands_with_it(settings):
    before = ingest("", None, DRIFT_AT, settings)
    known = lake.read(settings.lake, "ratings")
    assert known["arrived_at"].max() < DRIFT_AT
    assert lake.clock(settings.lake) == DRIFT_AT
    assert ingest("", DRIFT_AT, DRIFT_AT + pd.Timedelta(days=31), settings).repeated["ratings"] == 0
    ratings = lake.read(settings.lake, "ratings")
    late = ratings[(ratings["event_timestamp"] < DRIFT_AT) & (ratings["arrived_at"] >= DRIFT_AT)]
    assert not late.empty
    assert len(lake.read(settings.lake, "ratings", DRIFT_AT)) == before.rows["ratings"] == len(known)


def test_what_is_unusual_about_a_batch_is_told_and_recorded(tmp_path, settings):
    first = write(tmp_path / "a.json", [line(number) for number in range(90)])
    second = write(tmp_path / "b.json", [line(number, age=30) for number in range(90, 900)])
    until = pd.Timestamp("2016-01-10", tz="UTC")
    assert ingest(first, None, until, settings).findings == ()
    told = ingest(second, None, until + pd.Timedelta(days=30), settings).findings
    assert told == (
        "schema: field 'age' was text and is number",
        "volume: 101.2 ratings a day, 11.2 before",
        "freshness: the newest rating arrived 31 days before 2016-02-09",
    )
    recorded = QualityHistory(settings.home / "monitoring" / "quality.db").batches()
    assert [found for _, found in recorded] == [[], list(told)]
    assert (settings.home / "data-docs" / "ratings.html").is_file()


def test_a_batch_of_another_order_of_magnitude_changes_nothing(tmp_path, settings):
    first = write(tmp_path / "a.json", [line(number, review_date="January 1, 2016") for number in range(3)])
    second = write(
        tmp_path / "b.json", [line(number, review_date="January 2, 2016") for number in range(400)]
    )
    ingest(first, None, None, settings)
    with pytest.raises(VolumeError, match=r"400\.0 ratings a day, 3\.0 before"):
        ingest(second, None, None, settings)
    assert len(lake.read(settings.lake, "ratings")) == 3


def test_without_data_an_empty_lake_gets_the_generators_marketplace_but_not_by_a_schedule(
    tmp_path, monkeypatch
):
    settings = FeatureSettings(home=tmp_path)
    assert is_wanted("", settings)
    monkeypatch.setenv("ARGO_WORKFLOW_TEMPLATE", "featuresflow")
    with pytest.raises(lake.LakeError, match=r"empty: bring your ratings first, by .*--data FILE"):
        is_wanted("", settings)
    assert is_wanted("ratings.json", settings)
