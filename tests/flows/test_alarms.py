"""What the monitoring flow takes for a reason to train, and the file that others draw."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from feature_repo.settings import FeatureSettings
from flows.alarms import Look, try_look, write_drift
from flows.monitored_performance import COMPARED, Served, measure, served_drift, table_of
from flows.monitoring_period import Periods
from flows.performance_card import performance_card, performance_chart
from models.registry import ModelVersion
from models.settings import ModelSettings
from monitoring.drift import compare
from monitoring.log_entries import Feedback, Prediction
from monitoring.performance import COLUMNS
from monitoring.performance_report import PerformanceReport
from monitoring.prediction_log import PredictionLog
from monitoring.settings import MonitoringSettings

NOW = pd.Timestamp("2026-06-01", tz="UTC")
NOTHING_SERVED = Served(None, "nothing was served")


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> MonitoringSettings:
    return MonitoringSettings(home=tmp_path_factory.mktemp("home"), performance_reference_users=300)


@pytest.fixture(scope="module")
def lake(served_log, settings):
    """The lake with the log of four weeks, as the API writes it; in the third one users and errors change."""
    folder = settings.home / "lake"
    predictions, feedback = served_log(
        answers=6000, users=3000, rate=0.8, error=lambda day: np.where(day < 14, 0.4, 1.6)
    )
    older = predictions["timestamp"] >= predictions["timestamp"].iloc[0] + pd.Timedelta(days=14)
    with PredictionLog(folder) as log:
        for row, old in zip(predictions.to_dict("records"), older, strict=True):
            features = json.loads(row["features"])
            features["user_age"] += 25.0 * old
            features["purpose_rentals_all"] = float(row["timestamp"].timestamp())
            log.record(Prediction(**{**row, "features": features, "timestamp": row["timestamp"]}))
        for row in feedback.to_dict("records"):
            log.feedback(Feedback(**row))
        log.flush()
    rented = predictions.iloc[::10]
    from feature_repo import lake as tables

    tables.append(
        folder,
        "ratings",
        "a batch",
        pd.DataFrame(
            {
                "rating_id": rented["request_id"],
                "user_id": rented["user_id"],
                "rental_id": "r2",
                "rating": 3.0,
                "source_rating": 5.0,
                "purpose": "work",
                "size": 10.0,
                "event_timestamp": rented["timestamp"] + pd.Timedelta(hours=1),
                "arrived_at": rented["timestamp"] + pd.Timedelta(hours=2),
            }
        ),
    )
    return folder


@pytest.fixture(scope="module")
def performance(lake, settings) -> PerformanceReport:
    return measure(lake, ["3"], NOW, settings)


@pytest.fixture(scope="module")
def served(lake, settings) -> Served:
    return served_drift(lake, ["3"], settings)


@pytest.fixture(scope="module")
def compared() -> Periods:
    rng = np.random.default_rng(0)

    def side(share: float, rows: int) -> pd.DataFrame:
        purposes = np.where(
            rng.random(rows) < share, "wedding", rng.choice(list("abcdefghijklmnopqrstuvw"), rows)
        )
        return pd.DataFrame(
            {
                "purpose": purposes,
                "price": rng.normal(100, 20, rows),
                "arrived_at": pd.date_range("2026-01-05", periods=rows, freq="h", tz="UTC"),
            }
        )

    return Periods(side(0.1, 400), side(0.7, 500), pd.Timestamp("2026-01-05", tz="UTC"))


@pytest.fixture(scope="module")
def report(compared):
    return compare(compared.reference, compared.current, {"purpose": "categorical", "price": "numeric"})


@pytest.fixture(scope="module")
def found(performance, served, compared, report) -> Look:
    return Look(NOW, performance, served, compared, report, unlisted_share=0.01, unlisted_limit=0.05)


def test_the_figures_of_the_log_are_a_table_in_the_home(performance, settings) -> None:
    table = pd.read_parquet(table_of(settings))
    assert table_of(settings) == settings.home / "monitoring" / "performance.parquet"
    assert list(table) == list(COLUMNS)
    assert {"rmse", "reward_share", "ndcg_at_10", "ndcg_at_10_of_renters"} <= set(table["metric"])
    assert {"all", "cold start", "known user", "user_segment: solo"} <= set(table["segment"])
    assert not list(table_of(settings).parent.glob(".*")), "nothing half-written is left"


def test_drift_of_served_features_and_worse_performance_are_reasons(found, served) -> None:
    assert served.drifted == ["user_age"]
    reasons = found.alarms
    assert reasons[:2] == ["drift in purpose", "drift of what is served in user_age"]
    assert reasons[2].startswith("performance: RMSE (errors up to 2 stars) of version 3 rose from")


def test_what_only_ever_rises_is_not_compared() -> None:
    assert {"user_age", "purpose", "size"} <= set(COMPARED)
    assert not {name for name in COMPARED if name.endswith("_all") or name.startswith("purpose_")}


def test_a_version_without_two_periods_in_service_is_not_compared(lake, settings) -> None:
    assert served_drift(lake, ["4"], settings).drifted == []
    long = settings.model_copy(update={"served_days": 60})
    assert "has not served for 60 days" in str(served_drift(lake, ["3"], long))


def test_a_catalogue_that_lacks_what_people_take_is_outdated(found) -> None:
    assert found.outdated is None
    assert (
        "9% of the new ratings are of rentals that the catalogue lacks"
        in replace(found, unlisted_share=0.09).outdated
    )


def test_no_log_is_no_alarm(report, compared, tmp_path) -> None:
    home = MonitoringSettings(home=tmp_path)
    nothing = measure(tmp_path / "lake", ["3"], NOW, home)
    assert str(nothing) == "no answer is logged: nothing is known of performance"
    assert pd.read_parquet(table_of(home)).empty
    served = served_drift(tmp_path / "lake", ["3"], home)
    assert Look(NOW, nothing, served, compared, report, 0.0, 0.05).alarms == ["drift in purpose"]
    assert len(performance_card(nothing, NOTHING_SERVED)) == 2


def test_the_file_of_drift_holds_both_distributions_of_each_column(found, compared, tmp_path) -> None:
    path = tmp_path / "monitoring" / "drift.json"
    write_drift(path, found)
    written = json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert written["drifted"] == ["purpose"] and written["alarms"][0] == "drift in purpose"
    assert written["periods"].startswith("ratings known before 2026-01-05")
    assert written["served"]["drifted"] == ["user_age"]
    purpose, price = written["distributions"]
    assert (purpose["name"], purpose["kind"], purpose["drifted"]) == ("purpose", "categorical", True)
    assert purpose["labels"][0] == "wedding" and purpose["labels"][-1] == "all others"
    for each in (purpose, price):
        assert len(each["labels"]) == len(each["reference"]) == len(each["current"]) <= 14
        assert sum(each["reference"]) == pytest.approx(1) and sum(each["current"]) == pytest.approx(1)
    assert purpose["current"][0] == pytest.approx((compared.current["purpose"] == "wedding").mean())
    write_drift(path, replace(found, served=NOTHING_SERVED))
    assert json.loads(path.read_text())["served"] is None


def test_the_card_shows_figures_over_time_and_says_the_alarm(performance, served) -> None:
    rendered = [part.render() for part in performance_card(performance, served, 0.9)]
    words = " ".join(part["source"] for part in rendered if part["type"] == "markdown")
    assert "**RMSE (errors up to 2 stars) of version 3 rose" in words
    assert "Its RMSE in the evaluation was 0.900" in words
    assert "Drift in user_age" in words
    assert [part["type"] for part in rendered].count("vegaChart") == 4
    chart = performance_chart(performance, "rmse").to_dict()
    [rows] = chart["datasets"].values()
    assert [row["period"] for row in rows][:2] == ["2026-01-05", "2026-01-12"]
    assert rows[0]["value"] < 0.5 < 1.0 < rows[-1]["value"]


def test_a_figure_without_labels_is_said_not_drawn(performance, served) -> None:
    table = performance.table
    waiting = replace(performance, table=table[table["metric"] != "ndcg_at_10"])
    rendered = [part.render() for part in performance_card(waiting, served)]
    assert [part["type"] for part in rendered].count("vegaChart") == 3
    assert sum("No answer has its labels yet." in (part.get("source") or "") for part in rendered) == 1


def test_on_the_first_day_there_is_nothing_to_judge_and_no_error(settings, tmp_path) -> None:
    found, why = try_look(None, None, FeatureSettings(home=tmp_path), settings)
    assert found is None and why == "there is no champion yet: nothing to judge"


def test_in_the_days_after_a_training_there_is_nothing_to_compare_and_no_error(lake, settings) -> None:
    from feature_repo import lake as tables

    rental = {"rental_id": ["r2"], "category": "x", "listed_at": NOW}
    tables.append(lake, "rentals", "a batch", pd.DataFrame(rental))
    tables.append(lake, "users", "a batch", pd.DataFrame({"user_id": ["u1"], "joined_at": NOW}))
    lineage = {"trained_until": f"{NOW:%Y-%m-%d}"}
    champion = ModelVersion(3, {}, lineage, ("champion",), ModelSettings(home=settings.home), "a run")
    found, why = try_look(champion, NOW, FeatureSettings(home=settings.home), settings)
    assert found is None and why.startswith("no rating has arrived since 2026-06-01")
