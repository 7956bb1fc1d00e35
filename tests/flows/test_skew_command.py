"""Skew, put in and found: real Spark, Feast and SQLite, and the log that serving writes."""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo import history, lake, store
from feature_repo.names import RECOMMENDER_REQUEST_FEATURES
from flows.__main__ import main
from flows.skew import measure
from monitoring.prediction_log import Prediction, PredictionLog
from monitoring.settings import MonitoringSettings
from serving.answers import model_inputs
from serving.messages import Question
from serving.online_features import NO_REQUEST_FEATURES, OnlineFeatureReader
from serving.ports import find_free
from serving.predictors import Predictors
from serving.recommend import NoAnswerError, Recommender
from serving.settings import ServingSettings

pytestmark = pytest.mark.slow

START = pd.Timestamp("2020-01-01", tz="UTC")
HALF = pd.Timestamp("2020-07-01", tz="UTC")
UNTIL = pd.Timestamp("2021-01-01", tz="UTC")
USERS = ["1", "11", "12", "2", "u v", "ü", "21", "22"]
STRANGERS = ["nobody", "111"]
Features = Mapping[str, float | str | None]
Change = Callable[[str, Features], Features]


def marketplace():
    """Eight users of differing habits, each with something missing; a third of all ratings in December."""
    rng = np.random.default_rng(3)
    size = 300
    users = pd.DataFrame({"user_id": USERS, "joined_at": START, "age": rng.uniform(20, 60, len(USERS))})
    users = users.assign(height_cm=170.1, weight_kg=np.nan, segment=["a", None] * 4)
    rentals = pd.DataFrame({"rental_id": ["1", "11", "12"], "category": ["x", "y", "z"], "area": None})
    rentals = rentals.assign(price=[10.1, 20.2, 30.3], capacity=np.nan, listed_at=START)
    days = np.where(rng.random(size) < 1 / 3, rng.integers(335, 366, size), rng.integers(0, 335, size))
    ratings = pd.DataFrame(
        {
            "rating_id": [str(number) for number in range(size)],
            "user_id": rng.choice(USERS[:-1], size),
            "rental_id": rng.choice(rentals.rental_id, size),
            "rating": rng.choice([1.0, 3.0, 4.0], size),
            "source_rating": 1.0,
            "purpose": rng.choice(["party", "work"], size),
            "event_timestamp": START + pd.to_timedelta(days, unit="D") + pd.Timedelta(hours=7),
        }
    )
    ratings["arrived_at"] = ratings["event_timestamp"]
    return {"users": users, "rentals": rentals, "ratings": ratings}


class Store:
    """The real online store, with a fault between it and the API."""

    def __init__(self, settings, change: Change) -> None:
        self._store = store.OnlineFeatures(settings)
        self._change = change

    def user(self, user_id: str, purpose: str | None = None) -> Features:
        return self._change(user_id, self._store.user(user_id, purpose))

    def rental(self, rental_id: str) -> Features:
        return self._store.rental(rental_id)


def unchanged(user_id: str, features: Features) -> Features:
    return features


def ask(settings, change: Change = unchanged, users: list[str] | None = None) -> None:
    """Ask the API's recommender, whose gateway is down: what it would have given the model is logged."""

    async def every_user(recommender: Recommender) -> None:
        for user_id in users or USERS + STRANGERS:
            with pytest.raises(NoAnswerError):
                await recommender.recommend(user_id, Question(k=3, purpose="party"))
        await predictors.close()

    with PredictionLog(settings.lake) as log:
        features = OnlineFeatureReader(lambda: Store(settings, change), rental_seconds=0, user_seconds=0)
        serving = ServingSettings(home=settings.home, features_seconds=30, answer_seconds=60)
        predictors = Predictors(serving, f"http://127.0.0.1:{find_free(set())}")
        asyncio.run(every_user(Recommender(serving, predictors, features, log)))
        features.close()


@pytest.fixture(scope="module")
def behind(spark, feature_settings):
    """A history of a year, of which half is online; other modules build theirs after this one is removed."""
    shutil.rmtree(feature_settings.lake, ignore_errors=True)
    for table, frame in marketplace().items():
        lake.append(feature_settings.lake, table, "batch", frame)
    history.compute(feature_settings, UNTIL)
    store.publish(feature_settings, HALF)
    ask(feature_settings)
    yield (feature_settings.lake / "predictions").rename(feature_settings.home / "predictions-behind")
    shutil.rmtree(feature_settings.home / "predictions-behind", ignore_errors=True)
    shutil.rmtree(feature_settings.lake)
    shutil.rmtree(feature_settings.home / "feast", ignore_errors=True)


@pytest.fixture(scope="module")
def online(behind, feature_settings):
    """The whole year is online."""
    store.publish(feature_settings, UNTIL)
    return feature_settings


@pytest.fixture
def settings(online):
    """An empty prediction log."""
    yield online
    shutil.rmtree(online.lake / "predictions", ignore_errors=True)
    (online.home / "skew.json").unlink(missing_ok=True)


@pytest.fixture
def skew(monkeypatch, capsys):
    """Run the command; return its exit status and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["flows", "skew", *arguments])
        status = main()
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def report_of(settings) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((settings.home / "skew.json").read_text())
    return report


def feature(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in report["features"] if entry["name"] == name)


def test_what_is_served_from_the_store_has_no_skew(settings, skew):
    ask(settings)
    status, printed = skew()
    report = report_of(settings)
    assert status == 0, printed
    assert "no skew" in printed
    assert report["requests"] == report["logged_requests"] == len(USERS + STRANGERS)
    assert {entry["name"] for entry in report["features"]} == {
        each.name for each in RECOMMENDER_REQUEST_FEATURES
    }
    assert all(entry["compared"] == report["requests"] for entry in report["features"])
    assert (report["differing_requests"], report["skewed"], report["behind"]) == (0, [], {})
    assert (report["not_served"], report["not_recomputed"]) == ([], [])


def test_a_request_is_compared_with_what_was_true_at_its_time(settings):
    """What was true in July is right in July, though December has changed it, and wrong in December."""
    noon = (HALF + pd.Timedelta(hours=12)).timestamp()
    joined = store.features_as_of(
        store.open_store(settings),
        pd.DataFrame(
            {
                "request_id": USERS,
                "user_id": USERS,
                "purpose": "",
                "event_timestamp": HALF,
                "requested_at": noon,
            }
        ),
    ).set_index("user_id")
    with PredictionLog(settings.lake) as log:
        for time in (HALF + pd.Timedelta(hours=12), UNTIL + pd.Timedelta(hours=12)):
            for user_id in USERS:
                features = {
                    each.name: None
                    if pd.isna(joined.loc[user_id, each.name])
                    else joined.loc[user_id, each.name]
                    for each in RECOMMENDER_REQUEST_FEATURES
                }
                inputs = model_inputs(user_id, None, None, features)
                log.record(
                    Prediction(
                        request_id=f"{time:%m}-{user_id}",
                        user_id=user_id,
                        model_name="recommender",
                        model_version="1",
                        predictor="v1",
                        ok=True,
                        features={name: value for name, value in inputs.items() if name != "user_id"},
                        rental_ids=[],
                        scores=[],
                        predicted_ratings=[],
                        latency_ms=1.0,
                        timestamp=time.to_pydatetime(),
                    )
                )
    found = measure(settings, MonitoringSettings()).report
    counts = next(each for each in found.features if each.name == "user_rentals_all")
    assert counts.differing == len(USERS) - 1, "one of them never rented"
    assert counts.example and counts.example.request_id.startswith("01-")
    assert found.differing_requests == counts.differing


def test_a_feature_that_is_served_scaled_is_found(settings, skew):
    def scaled(user_id: str, features: Features) -> Features:
        age = features["user_age"]
        return {**features, "user_age": age * 1.01} if user_id in ("1", "ü") else features

    ask(settings, scaled)
    status, printed = skew()
    report = report_of(settings)
    assert status == 1
    assert report["skewed"] == ["user_age"]
    age = feature(report, "user_age")
    assert (age["differing"], age["share"]) == (2, 0.2)
    assert age["largest_relative_difference"] == pytest.approx(0.01 / 1.01, rel=1e-5)
    ages = marketplace()["users"].set_index("user_id")["age"]
    assert age["largest_difference"] == pytest.approx(0.01 * max(ages["1"], ages["ü"]), rel=1e-5)
    assert age["example"]["served"] == pytest.approx(1.01 * age["example"]["recomputed"])
    assert f"skew in 1 of {len(RECOMMENDER_REQUEST_FEATURES)} features" in printed


def test_features_of_another_user_are_found(settings, skew):
    real = store.OnlineFeatures(settings)

    def swapped(user_id: str, features: Features) -> Features:
        return real.user({"1": "11", "11": "1"}.get(user_id, user_id), "party")

    ask(settings, swapped)
    status, _ = skew()
    report = report_of(settings)
    assert status == 1
    assert {"user_age", "user_segment", "user_rentals_all"} <= set(report["skewed"])
    assert (report["differing_requests"], report["behind"]) == (2, {})
    segment = feature(report, "user_segment")
    assert {segment["example"]["served"], segment["example"]["recomputed"]} == {"a", None}


def test_an_online_store_that_is_one_materialization_behind_is_found_and_named(settings, behind, skew):
    shutil.copytree(behind, settings.lake / "predictions")
    status, printed = skew()
    report = report_of(settings)
    assert status == 1
    assert {"user_rentals_all", "user_rentals_30d", "user_price_mean"} <= set(report["skewed"])
    assert "user_age" not in report["skewed"]
    assert report["behind"] == {"2020-07-01": report["differing_requests"]}
    assert "were served what was true as of 2020-07-01: the online store was behind" in printed


def test_zero_in_the_place_of_nothing_is_found(settings, skew):
    def zero(user_id: str, features: Features) -> Features:
        return {**features, "user_weight_kg": features["user_weight_kg"] or 0.0}

    ask(settings, zero)
    status, _ = skew()
    report = report_of(settings)
    assert status == 1
    assert report["skewed"] == ["user_weight_kg"]
    weight = feature(report, "user_weight_kg")
    assert weight["recomputed_missing"] == weight["differing"] == len(USERS + STRANGERS)
    assert weight["largest_difference"] is None
    assert (weight["example"]["served"], weight["example"]["recomputed"]) == (0.0, None)


def test_a_known_user_served_as_a_stranger_is_found(settings, skew):
    ask(settings, lambda user_id, features: NO_REQUEST_FEATURES if user_id == "1" else features)
    status, _ = skew()
    assert status == 1
    assert feature(report_of(settings), "user_age")["served_missing"] == 1


def test_requests_which_the_store_did_not_answer_are_counted_apart(settings, skew):
    def away(user_id: str, features: Features) -> Features:
        if user_id in ("1", "ü"):
            raise ConnectionError("it is away")
        return features

    ask(settings, away)
    status, printed = skew()
    report = report_of(settings)
    assert status == 0, printed
    assert (report["requests_without_features"], report["requests"]) == (2, len(USERS + STRANGERS) - 2)
    assert "answered without features, the store being away or late, and not compared: 2" in printed


def test_since_leaves_out_what_was_before_a_repair(settings, skew):
    ask(settings, lambda user_id, features: {**features, "user_age": 1.0})
    repaired = datetime.now(UTC)
    ask(settings)
    assert skew()[0] == 1
    assert skew("--since", repaired.isoformat())[0] == 0


def test_the_threshold_and_the_sample_are_settings(settings, skew, monkeypatch):
    ask(settings, lambda user_id, features: {**features, "user_age": 1.0} if user_id == "1" else features)
    assert skew()[0] == 1
    monkeypatch.setenv("RENTALS_SKEW_THRESHOLD", "0.1")
    assert skew()[0] == 0, "one of ten is not more than a tenth"
    monkeypatch.setenv("RENTALS_SKEW_SAMPLE", "4")
    skew()
    assert report_of(settings)["requests"] == 4


def test_without_requests_nothing_can_be_told_and_no_old_report_is_left(settings, skew):
    (settings.home / "skew.json").write_text("{}")
    status, printed = skew()
    assert status == 2
    assert "error: no predictions are logged: serve a model (`make up`)" in printed
    assert not (settings.home / "skew.json").exists()


def test_without_features_nothing_can_be_told(settings, skew, monkeypatch, tmp_path):
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path))
    status, printed = skew()
    assert status == 2
    assert "has no features: run `make features`" in printed


def test_without_a_registry_nothing_can_be_told(settings, skew):
    ask(settings, users=["1"])
    registry = settings.home / "feast" / "registry.db"
    away = registry.rename(registry.with_suffix(".away"))
    try:
        status, printed = skew()
    finally:
        away.rename(registry)
    assert status == 2
    assert "the features are not registered" in printed and "run `make features`" in printed


def test_a_time_that_is_none_is_told(settings, skew):
    status, printed = skew("--since", "yesterday")
    assert status == 2
    assert "--since is 'yesterday': give a time as YYYY-MM-DDTHH:MM" in printed
