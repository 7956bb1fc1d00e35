"""The API where no predictor is up; with real ones it is tested in test_local_runtime.py."""

import json
from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from feature_repo.stream.events import Line, parse
from monitoring.prediction_log import read_feedback, read_predictions
from serving import api as api_module
from serving.api import create_app
from serving.components import new_state, save_state
from serving.security_headers import HEADERS
from serving.settings import ServingSettings


def problem_of(api: TestClient, status: int, path: str, **arguments: Any) -> str:
    response = api.request(arguments.pop("method", "GET"), path, **arguments)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status and problem["title"]
    return str(problem["detail"])


def test_an_error_of_ours_has_the_headers_too_and_tells_nothing(
    api: TestClient, memory_features: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "Feedback", None)
    message = {"request_id": "q1", "user_id": "u0", "rental_id": "r1"}
    answer = api.post("/feedback", json=message)
    assert answer.status_code == 500 and answer.json()["detail"] == "the API failed; its log has the details"
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_a_hundred_pairs_of_the_longest_ids_are_taken(api: TestClient) -> None:
    body = {"pairs": [{"user_id": "ü" * 128, "rental_id": "ü" * 128, "purpose": "ü" * 128}] * 100}
    assert "predictor" in problem_of(api, 503, "/ratings:predict", method="POST", json=body)


@pytest.mark.parametrize("k", [0, -1, 101, 10**9, 10**30])
def test_k_off_its_range_is_told_with_the_range(api: TestClient, k: int) -> None:
    detail = problem_of(api, 422, f"/users/u0/recommendations?k={k}")

    assert detail.startswith("k: input should be ") and ("equal to 1" in detail or "equal to 100" in detail)


def test_k_that_is_no_number_is_told(api: TestClient) -> None:
    assert "k: input should be a valid integer" in problem_of(api, 422, "/users/u0/recommendations?k=ten")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("exclude=", "exclude.0: string should have at least 1 character"),
        ("&".join(["exclude=r"] * 501), "exclude: list should have at most 500 items"),
        (f"category={'c' * 129}", "category.0: string should have at most 128"),
        ("excluded=r1", "excluded: unknown name"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_told(api: TestClient, query: str, said: str) -> None:
    assert said in problem_of(api, 422, f"/users/u0/recommendations?{query}")


@pytest.mark.parametrize("route", ["recommendations", "features"])
def test_a_user_id_of_ten_thousand_characters_is_refused_in_few_words(api: TestClient, route: str) -> None:
    detail = problem_of(api, 422, f"/users/{'u' * 10_000}/{route}")

    assert "user_id: string should have at most 128 characters" in detail and "(10000 characters)" in detail
    assert len(detail) < 300


PAIR = {"user_id": "u0", "rental_id": "r1"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"pairs": []}, "pairs: list should have at least 1 item"),
        ({"pairs": [PAIR] * 101}, "pairs: list should have at most 100 items"),
        ({"pairs": [{**PAIR, "size": True}]}, "pairs.0.size: input should be a valid number"),
        ({"pairs": [{"user_id": "u0"}]}, "pairs.0.rental_id: field required"),
        ({"pairs": [{**PAIR, "rating": 3}]}, "pairs.0.rating: unknown name"),
        ([PAIR], "the body: "),
    ],
)
def test_pairs_that_cannot_be_meant_are_told(api: TestClient, body: Any, said: str) -> None:
    assert said in problem_of(api, 422, "/ratings:predict", method="POST", json=body)


def test_a_range_of_prices_that_holds_none_is_told(api: TestClient) -> None:
    detail = problem_of(api, 422, "/users/u0/recommendations?price_from=2&price_to=1")
    assert detail == "the question: price_from is greater than price_to: exchange them"


def test_no_predictor_is_a_problem_and_a_failed_answer_in_the_log(
    settings: ServingSettings, memory_features: Any
) -> None:
    save_state(new_state(settings), settings)
    with TestClient(create_app(settings, memory_features)) as api:
        assert "predictor unknown failed" in problem_of(api, 503, "/users/u0/recommendations")

    logged = read_predictions(settings.lake)
    assert logged["ok"].tolist() == [False]
    assert logged["user_id"].tolist() == ["u0"]


def test_readiness_tells_that_the_model_is_away_and_liveness_does_not_care(api: TestClient) -> None:
    assert api.get("/readyz").status_code == 503
    assert api.get("/healthz").status_code == 200


def test_features_of_known_and_unknown_users(api: TestClient) -> None:
    assert api.get("/users/u0/features").json()["features"]["user_segment"] == "athletic"
    assert set(api.get("/users/nobody/features").json()["features"].values()) == {None}


def test_an_id_may_hold_any_character(api: TestClient) -> None:
    response = api.get("/rentals/a%2Fb%20%E2%82%AC%0A%00/features")

    assert response.json()["rental_id"] == "a/b €\n\0"
    assert response.json()["features"]["rental_category"] == "gown"


def test_feedback_is_logged(settings: ServingSettings, memory_features: Any) -> None:
    save_state(new_state(settings), settings)
    message = {"request_id": "q1", "user_id": "u0", "rental_id": "r1"}
    with TestClient(create_app(settings, memory_features)) as api:
        assert api.post("/feedback", json={**message, "rating": 4.5}).status_code == 202
        assert api.post("/feedback", json={**message, "rating": None}).status_code == 202

    logged = read_feedback(settings.lake)
    assert logged["rating"].fillna(0).tolist() == [4.5, 0]


@pytest.mark.parametrize("rating", [0.5, 5.5, "good", True])
def test_a_rating_off_its_scale_is_refused(api: TestClient, rating: Any) -> None:
    message = {"request_id": "q1", "user_id": "u0", "rental_id": "r1", "rating": rating}

    assert problem_of(api, 422, "/feedback", method="POST", json=message).startswith("rating: ")


def test_a_rating_under_a_misspelt_name_is_no_click(api: TestClient) -> None:
    message = {"request_id": "q1", "user_id": "u0", "rental_id": "r1", "ratting": 1}

    detail = problem_of(api, 422, "/feedback", method="POST", json=message)
    assert detail == "ratting: unknown name: correct it or leave it out"


def test_a_misspelt_parameter_is_told(api: TestClient) -> None:
    assert problem_of(api, 422, "/users/u0/recommendations?K=3").startswith("K: unknown name")


@pytest.mark.parametrize(
    ("status", "content", "detail"),
    [
        (422, b"hello", "the body is not JSON: Expecting value at character 0"),
        (400, b'"\xff"', "send JSON in UTF-8"),
        (400, b"[" * 8000, "not nested deeply"),
        (413, b" " * 20_000, "larger than 16384 bytes"),
    ],
)
def test_a_body_that_cannot_be_read_is_told_with_the_remedy(
    api: TestClient, status: int, content: bytes, detail: str
) -> None:
    headers = {"Content-Type": "application/json"}

    assert detail in problem_of(api, status, "/feedback", method="POST", content=content, headers=headers)


def test_a_body_without_its_type_is_told_the_header(api: TestClient) -> None:
    assert "Content-Type: application/json" in problem_of(api, 422, "/feedback", method="POST", content=b"{}")


def test_a_large_body_of_unknown_length_is_refused(api: TestClient) -> None:
    pieces = (b" " * 1000 for _ in range(20))

    assert problem_of(api, 413, "/feedback", method="POST", content=pieces)


def test_a_method_that_does_not_fit_is_told_those_that_do(api: TestClient) -> None:
    assert "header Allow" in problem_of(api, 405, "/feedback")
    assert api.get("/feedback").headers["allow"] == "POST"


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/healthz", 200), ("/readyz", 503)])
def test_load_balancers_may_ask_by_head(api: TestClient, path: str, status: int) -> None:
    assert api.head(path).status_code == status


def test_unknown_paths_are_problems_and_the_index_is_a_page(api: TestClient) -> None:
    assert problem_of(api, 404, "/nowhere")
    assert "<a href=" in api.get("/").text


def test_without_a_runtime_the_api_names_the_command(settings: ServingSettings) -> None:
    with pytest.raises(RuntimeError, match="python -m serving up"):
        create_app(settings)


EVENT = {
    "rating_id": "r1",
    "user_id": "u0",
    "rental_id": "h1",
    "rating": 4,
    "event_timestamp": "2026-01-31T12:00:00+01:00",
}


def published(settings: ServingSettings) -> list[dict[str, Any]]:
    files = (settings.home / "stream" / "inbox").glob("*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize("count", [1, 1_000])
def test_events_are_kept_for_the_stream(api: TestClient, settings: ServingSettings, count: int) -> None:
    sizes = [14, 0.5, None]
    events = [
        {**EVENT, "rating_id": f"{number} ü\u2028", "size": sizes[number % 3]} for number in range(count)
    ]
    response = api.post("/v1/events", json=events if count > 1 else events[0])

    assert (response.status_code, response.json()) == (202, {"accepted": count})
    kept = published(settings)
    for name in ("rating_id", "size"):
        assert [each[name] for each in kept] == [each[name] for each in events]
    assert datetime.fromisoformat(kept[0]["event_timestamp"]) == datetime.fromisoformat(
        EVENT["event_timestamp"]
    )
    assert parse([Line(json.dumps(kept[0]).encode(), "")], 2**60).refused == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rating": 6}, "rating: input should be less than or equal to 5"),
        ({"rating": "4"}, "rating: input should be a valid number"),
        ({"user_id": " "}, "user_id: is blank"),
        ({"rental_id": None}, "rental_id: input should be a valid string"),
        ({"event_timestamp": "2026-01-31T12:00:00"}, "event_timestamp: input should have timezone info"),
        ({"event_timestamp": 1e9}, "ISO 8601"),
        ({"purpse": "work"}, "purpse: unknown name"),
        ({"size": "14"}, "size: input should be a valid number"),
        ({"size": -1}, "size: input should be greater than or equal to 0"),
        ({"size": 1e300}, "size: input should be less than or equal to 10000"),
    ],
)
def test_an_event_that_is_none_is_refused_with_its_faults_and_none_is_kept(
    api: TestClient, settings: ServingSettings, change: dict[str, Any], said: str
) -> None:
    assert said in problem_of(api, 422, "/v1/events", method="POST", json={**EVENT, **change})
    detail = problem_of(api, 422, "/v1/events", method="POST", json=[EVENT, {**EVENT, **change}, {}])
    assert "events.1." in detail and said in detail and "events.2.rating_id: field required" in detail
    assert published(settings) == []


@pytest.mark.parametrize(
    ("status", "body"), [(422, []), (422, [EVENT] * 1_001), (422, "x"), (413, "x" * 1_000_001)]
)
def test_nothing_and_too_many_events_are_refused(api: TestClient, status: int, body: Any) -> None:
    problem_of(api, status, "/v1/events", method="POST", json=body)


def test_on_a_cluster_it_starts_with_the_gateway_that_the_settings_name(
    settings: ServingSettings, memory_features: Any
) -> None:
    with pytest.raises(RuntimeError, match="RENTALS_GATEWAY_URL"):
        create_app(settings, memory_features)

    there = settings.model_copy(update={"gateway_url": "http://127.0.0.1:9"})
    with TestClient(create_app(there, memory_features)) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").status_code == 503
