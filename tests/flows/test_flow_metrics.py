"""What the flows leave for Prometheus when they end."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from feature_repo.readers import SourceError
from feature_repo.settings import FeatureSettings
from flows import metrics, retraining
from flows.ingest import ingest
from flows.quarantine_replay import replay
from flows.retraining_log import Outcome, log_of
from flows.settings import FlowSettings
from monitoring.batch_metrics import FOLDER
from monitoring.drift import compare
from monitoring.expectations import MostlyBadError


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureSettings:
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path / "home"))
    return FeatureSettings()


def told(settings: FeatureSettings, part: str) -> dict[tuple[str, ...], float]:
    """Value by name and labels, in the alphabet's order of their names."""
    text = (settings.home / FOLDER / f"{part}.prom").read_text()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def file_of(folder: Path, good: int, bad: int, unreadable: int = 0) -> str:
    lines = [
        json.dumps(
            {
                "user_id": f"u{number}",
                "item_id": "i1",
                "rating": "8" if number < good else "40",
                "rented for": "party",
                "review_date": "January 2, 2016",
                "category": "gown",
            }
        )
        for number in range(good + bad)
    ]
    file = folder / f"{good}-{bad}-{unreadable}.json"
    file.write_text("\n".join([*lines, *["not json"] * unreadable]))
    return str(file)


def test_a_batch_tells_what_became_of_its_rows_and_a_replay_what_is_left(
    tmp_path: Path, settings: FeatureSettings
) -> None:
    ingest(file_of(tmp_path, good=18, bad=2, unreadable=5), None, None, settings)

    found = told(settings, "ingest")
    assert found["rentals_ingest_rows", "landed", "ratings"] == 18
    assert found["rentals_ingest_rows", "quarantined", "ratings"] == 2
    assert found["rentals_ingest_bad_ratio", "ratings"] == 0.1
    assert found["rentals_ingest_bad_ratio", "unparsed"] == 0.2
    assert found["rentals_ingest_bad_ratio_limit",] == 0.5
    held = told(settings, "quarantine")
    assert held["rentals_quarantine_rows", "ratings"] == 2
    assert held["rentals_quarantine_rows", "unparsed"] == 5
    (settings.home / FOLDER / "quarantine.prom").unlink()
    replay(settings, "ratings")
    assert told(settings, "quarantine")["rentals_quarantine_rows", "ratings"] == 2


@pytest.mark.parametrize(
    ("rows", "error", "table", "share"),
    [((2, 8, 0), MostlyBadError, "ratings", 0.8), ((2, 0, 6), SourceError, "unparsed", 0.75)],
)
def test_a_batch_that_is_refused_says_how_bad_it_was(
    tmp_path: Path,
    settings: FeatureSettings,
    rows: tuple[int, int, int],
    error: type[Exception],
    table: str,
    share: float,
) -> None:
    with pytest.raises(error):
        ingest(file_of(tmp_path, *rows), None, None, settings)

    found = told(settings, "ingest")
    assert found["rentals_ingest_bad_ratio", table] == share
    assert not [name for name, *_ in found if name == "rentals_ingest_rows"]


def test_features_tell_as_of_when_they_are(settings: FeatureSettings) -> None:
    metrics.features(pd.Timestamp("2026-05-01", tz="UTC"), {"user_activity": 7})

    found = told(settings, "features")
    assert found["rentals_features_as_of_timestamp_seconds",] == 1777593600
    assert found["rentals_features_rows", "user_activity"] == 7


def test_drift_is_told_by_feature(settings: FeatureSettings) -> None:
    before = pd.DataFrame({"moved": range(1000), "stayed": range(1000), "empty": [math.nan] * 1000})
    report = compare(before, before.assign(moved=before["moved"] + 800), dict.fromkeys(before, "numeric"))
    metrics.drift(report)

    found = told(settings, "drift")
    assert found["rentals_drift_detected", "moved"] == 1
    assert found["rentals_drift_detected", "stayed"] == found["rentals_drift_detected", "empty"] == 0
    assert found["rentals_drift_psi", "moved"] > 0.2 > found["rentals_drift_psi", "stayed"]
    assert found["rentals_drift_adjusted_p_value", "moved"] < 0.01
    assert found["rentals_drift_rows", "current"] == 1000


def test_a_stop_is_told_and_what_takes_it_back(settings: FeatureSettings) -> None:
    of_flows = FlowSettings()
    log = log_of(of_flows)
    for outcome in (Outcome.REGISTERED, Outcome.FAILED, Outcome.REFUSED):
        log.begin(pd.Timestamp("2026-05-01", tz="UTC"), "drift", outcome)

    retraining.stop(of_flows, "holidays")
    found = told(settings, "retraining")
    assert found["rentals_retraining_stopped_timestamp_seconds",] > 1.7e9
    assert found["rentals_retrainings_in_vain",] == 2
    assert found["rentals_retrainings_in_vain_limit",] == of_flows.retrain_patience
    assert found["rentals_retrainings", "registered"] == found["rentals_retrainings", "failed"] == 1

    retraining.go(of_flows)
    found = told(settings, "retraining")
    assert found["rentals_retraining_stopped_timestamp_seconds",] == 0
    assert found["rentals_retrainings_in_vain",] == 0
