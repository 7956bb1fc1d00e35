"""A batch beside the ones before it: fields, volume, freshness."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitoring.batch_quality import MOST_FIELDS, BatchFigures, VolumeError, findings, schema_drift
from monitoring.quality_history import KnownFeatures, QualityHistory
from monitoring.settings import MonitoringSettings

FIELDS = {"rating": "number", "age": "number", "review_text": "not read"}
BORDER = datetime(2024, 1, 31, tzinfo=UTC)


def batch(name: str, ratings: int, **changes) -> BatchFigures:
    """One of thirty days."""
    figures = BatchFigures(
        batch=name,
        fields=FIELDS,
        rows={"users": 3, "ratings": ratings},
        bad={"ratings": 1},
        first=BORDER - timedelta(days=30),
        newest=BORDER,
    )
    return replace(figures, **changes)


PAST = [batch("a", 290), batch("b", 300), batch("c", 310)]


def test_a_batch_like_the_others_is_not_worth_a_word():
    assert findings(batch("d", 320), PAST, BORDER) == []
    assert findings(batch("first", 320), [], BORDER) == []


def test_fields_that_come_go_or_change_are_named():
    now = {"age": "text", "review_text": "not read", "stars": "number"}
    assert schema_drift(FIELDS, now) == [
        "schema: field 'rating' is gone",
        "schema: field 'stars' (number) is new",
        "schema: field 'age' was number and is text",
    ]
    assert findings(batch("d", 300, fields=now), PAST, BORDER) == schema_drift(FIELDS, now)


def test_a_source_of_other_fields_altogether_stays_readable():
    found = schema_drift(FIELDS, {f"f{n}": "text" for n in range(1000)})
    assert len(found) == MOST_FIELDS + 1
    assert found[-1] == f"schema: {1003 - MOST_FIELDS} more fields differ"


def test_the_same_batch_again_is_not_its_own_past():
    assert findings(batch("b", 3000), [batch("b", 300)], BORDER) == []


@pytest.mark.parametrize("ratings", [50, 1600])
def test_far_more_or_fewer_ratings_a_day_than_usual_are_told(ratings):
    (found,) = findings(batch("d", ratings), PAST, BORDER)
    assert found == f"volume: {ratings / 30:.1f} ratings a day, 10.0 before"


@pytest.mark.parametrize("ratings", [2, 31_000])
def test_another_order_of_magnitude_stops_and_names_the_setting(ratings):
    with pytest.raises(VolumeError, match=r"nothing of it is in the lake.*RENTALS_VOLUME_STOP_FACTOR"):
        findings(batch("d", ratings), PAST, BORDER)
    settings = MonitoringSettings(volume_stop_factor=1000)
    assert findings(batch("d", ratings), PAST, BORDER, settings)


def test_a_batch_without_ratings_is_told():
    empty = batch("d", 0, first=None, newest=None)
    assert findings(empty, PAST, BORDER) == ["volume: no rating arrived"]
    assert findings(batch("e", 300), [empty], BORDER) == []


def test_an_old_batch_is_told():
    assert findings(batch("d", 300), PAST, BORDER + timedelta(days=7)) == []
    (found,) = findings(batch("d", 300), PAST, BORDER + timedelta(days=8))
    assert found == "freshness: the newest rating arrived 8 days before 2024-02-08"


def test_the_history_gives_back_what_was_recorded(tmp_path):
    history = QualityHistory(tmp_path / "new" / "quality.db")
    assert history.batches() == []
    for one in (*PAST, batch("d", 0, first=None, newest=None)):
        history.record_batch(one, ["volume: no rating arrived"] if one.batch == "d" else [])
    history.record_batch(batch("a", 1), [])
    again = QualityHistory(tmp_path / "new" / "quality.db").batches()
    assert [one.batch for one, _ in again] == ["b", "c", "d", "a"]
    assert again[0] == (PAST[1], [])
    assert again[2][0].newest is None
    assert again[2][1] == ["volume: no rating arrived"]


def test_features_are_compared_with_an_earlier_time_only(tmp_path):
    history = QualityHistory(tmp_path / "quality.db")
    for days, share in ((0, 0.5), (30, 0.6)):
        known = KnownFeatures(BORDER + timedelta(days=days), 10, {"mean": share})
        history.record_features("user_features", known)
    found = history.last_features("user_features", BORDER + timedelta(days=29))
    assert found is not None
    assert (found.as_of, found.known) == (BORDER, {"mean": 0.5})
    assert history.last_features("user_features", BORDER - timedelta(days=1)) is None
    assert history.last_features("rental_features", BORDER) is None
