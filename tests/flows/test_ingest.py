"""From a source into the lake: nothing lost, nothing twice, and nothing touched by a bad batch."""

import json

import pandas as pd
import pytest

from feature_repo import lake
from feature_repo.readers import SourceError
from feature_repo.settings import FeatureSettings
from flows.ingest import ingest
from monitoring import quarantine
from monitoring.expectations import MostlyBadError

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
