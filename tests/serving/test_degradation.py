"""What the API answers when its parts do not: step by step less, each step named."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from monitoring.prediction_log import read_predictions
from serving.api import create_app
from serving.components import new_state, save_state
from serving.files import replace_json
from serving.ports import HOST
from serving.settings import ServingSettings

POPULAR = [
    {"rental_id": "p1", "score": 9.0, "predicted_rating": 4.5, "category": "gown", "price": 40.0},
    {"rental_id": "p2", "score": 7.0, "predicted_rating": 4.0, "category": "suit", "price": None},
    {"rental_id": "p3", "score": 5.0, "predicted_rating": 3.5, "category": "gown", "price": 90.0},
]


class BreakingStore:
    """A store that fails from the moment it is told to."""

    def __init__(self, store: Any) -> None:
        self._store, self.broken = store, False

    def user(self, user_id: str, purpose: str | None = None) -> Mapping[str, float | str | None]:
        return self._whole().user(user_id, purpose)

    def rentals(self, rental_ids: list[str]) -> list[Mapping[str, float | str | None]]:
        return self._whole().rentals(rental_ids)

    def _whole(self) -> Any:
        if self.broken:
            raise OSError("the store is away")
        return self._store


@pytest.fixture
def store(memory_features: Any) -> BreakingStore:
    return BreakingStore(memory_features)


@pytest.fixture
def popular(settings: ServingSettings) -> None:
    replace_json(settings.popularity, {"rankings": {"": POPULAR, "work": POPULAR[::-1]}})


@contextmanager
def served(settings: ServingSettings, store: Any, port: int | None = None) -> Iterator[TestClient]:
    """The API, its gateway at ``port`` or nowhere."""
    state = new_state(settings)
    if port:
        state.gateway = replace(state.gateway, gateway=port)
    save_state(state, settings)
    with TestClient(create_app(settings, store), raise_server_exceptions=False) as client:
        yield client


def answer(api: TestClient, **question: Any) -> dict[str, Any]:
    response = api.get("/users/u0/recommendations", params=question)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def steps(found: dict[str, Any]) -> list[str]:
    return [each["step"] for each in found["degraded"]]


def test_without_a_predictor_the_answer_is_what_is_popular_for_the_purpose(
    settings: ServingSettings, store: BreakingStore, popular: None
) -> None:
    with served(settings, store) as api:
        everything, work = answer(api), answer(api, purpose="work", k=2)

    assert [item["rental_id"] for item in everything["items"]] == ["p1", "p2", "p3"]
    assert [item["rental_id"] for item in work["items"]] == ["p3", "p2"]
    assert steps(everything) == ["popularity"] and "predictor unknown failed" in str(everything["degraded"])
    assert everything["model_version"] == everything["predictor"] == "popularity"
    assert everything["items"][0]["category"] == "gown"
    logged = read_predictions(settings.lake)
    assert logged["predictor"].tolist() == ["unknown", "popularity"] * 2
    assert logged["ok"].tolist() == [False, True] * 2


@pytest.mark.parametrize(
    ("question", "left"),
    [
        ({"exclude": "p1"}, ["p2", "p3"]),
        ({"only": ["p3", "p1"]}, ["p1", "p3"]),
        ({"category": "gown", "k": 1}, ["p1"]),
        ({"price_from": 50}, ["p3"]),
        ({"price_to": 1000}, ["p1", "p3"]),
        ({"area": "nowhere"}, []),
    ],
)
def test_filters_hold_for_what_is_popular_too(
    settings: ServingSettings, store: BreakingStore, popular: None, question: Any, left: list[str]
) -> None:
    with served(settings, store) as api:
        assert [item["rental_id"] for item in answer(api, **question)["items"]] == left


@pytest.mark.parametrize("content", [None, "", "[]", '{"rankings": 3}', '{"rank'])
def test_a_list_that_cannot_be_read_is_no_answer_and_no_crash(
    settings: ServingSettings, store: BreakingStore, content: str | None
) -> None:
    if content is not None:
        settings.home.mkdir(parents=True, exist_ok=True)
        settings.popularity.write_text(content)
    with served(settings, store) as api:
        response = api.get("/users/u0/recommendations")
    assert response.status_code == 503
    assert "predictor unknown failed" in response.json()["detail"]


def test_a_store_that_fails_leaves_the_features_of_a_moment_ago_and_then_none(
    settings: ServingSettings, store: BreakingStore, popular: None
) -> None:
    with served(settings, store) as api:
        assert steps(answer(api)) == ["popularity"]
        store.broken = True
        known = answer(api)
        stranger = api.get("/users/u1/recommendations").json()

    assert steps(known) == ["cached features", "popularity"] and not known["cold_start"]
    assert steps(stranger) == ["no features", "popularity"] and stranger["cold_start"]
    assert "the store is away" in known["degraded"][0]["reason"]
    logged = read_predictions(settings.lake)
    # What the store did not give must not be taken for what it gave, when skew is looked for.
    assert logged["features_failure"].notna().tolist() == [False] * 2 + [True] * 4


def test_items_without_attributes_are_said_to_be(
    settings: ServingSettings, store: BreakingStore, popular: None
) -> None:
    store.broken = True
    with served(settings, store) as api:
        found = answer(api)
    assert steps(found) == ["no features", "popularity", "no attributes"]
    assert found["items"][0]["category"] is None


def test_a_predictor_that_never_answers_is_not_waited_for(
    settings: ServingSettings, store: BreakingStore, popular: None
) -> None:
    hasty = settings.model_copy(update={"inference_seconds": 0.2, "answer_seconds": 0.5})
    with socket.create_server((HOST, 0)) as silent, served(hasty, store, silent.getsockname()[1]) as api:
        found = answer(api)
    assert steps(found) == ["popularity"] and "no answer within" in found["degraded"][0]["reason"]


def test_no_time_is_left_for_the_model_where_the_features_took_it_all(
    settings: ServingSettings, features_of: Callable[..., Any], popular: None
) -> None:
    hasty = settings.model_copy(update={"features_seconds": 0.05, "answer_seconds": 0.05})
    released = threading.Event()

    class Late(BreakingStore):
        def user(self, user_id: str, purpose: str | None = None) -> Mapping[str, float | str | None]:
            released.wait(10)
            return {}

    try:
        with served(hasty, Late(features_of({}))) as api:
            found = answer(api)
            released.set()
    finally:
        released.set()
    assert steps(found)[:2] == ["no features", "popularity"]
    assert "no time is left to ask it" in found["degraded"][1]["reason"]
    assert read_predictions(settings.lake)["predictor"].tolist() == ["popularity"], "nobody else is to blame"


def test_degraded_answers_are_counted_by_step(
    settings: ServingSettings, store: BreakingStore, popular: None
) -> None:
    with served(settings, store) as api:
        answer(api)
        answer(api)
        metrics = api.get("/metrics").text
    assert 'rentals_api_degraded_total{step="popularity"} 2.0' in metrics
