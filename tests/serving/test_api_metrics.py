"""What the API counts."""

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families


def samples(api: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests_of(api: TestClient, **labels: str) -> float:
    return samples(api).get(("rentals_api_requests_total", frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_and_status(api: TestClient) -> None:
    for user in ("u0", "u1"):
        assert api.get(f"/users/{user}/features").status_code == 200
    api.get("/users/u0/recommendations?k=0")

    assert requests_of(api, method="GET", route="/users/{user_id:id}/features", status="200") == 2
    assert requests_of(api, method="GET", route="/users/{user_id:id}/recommendations", status="422") == 1
    counted = samples(api)
    route = frozenset({("route", "/users/{user_id:id}/features")})
    assert counted["rentals_api_request_seconds_count", route] == 2
    assert 0 < counted["rentals_api_request_seconds_sum", route] < 2
    below = [
        value
        for (name, labels), value in counted.items()
        if name == "rentals_api_request_seconds_bucket" and route <= labels
    ]
    assert below == sorted(below) and below[-1] == 2
    assert counted["rentals_prediction_log_dropped_total", frozenset()] == 0


def test_addresses_that_there_are_not_make_one_series(api: TestClient) -> None:
    for number in range(5):
        api.get(f"/nothing/{number}")

    assert requests_of(api, method="GET", route="unknown", status="404") == 5


def test_an_answer_that_cannot_be_given_is_counted_as_what_it_is(api: TestClient) -> None:
    assert api.get("/users/u0/recommendations").status_code == 503

    assert requests_of(api, method="GET", route="/users/{user_id:id}/recommendations", status="503") == 1


@pytest.mark.parametrize("repeat", [1, 2])
def test_applications_of_one_process_count_for_themselves_though_feast_was_imported(
    api: TestClient, repeat: int
) -> None:
    import feast.metrics  # noqa: F401 - it has counters of all applications share a folder

    api.get("/healthz")
    assert requests_of(api, method="GET", route="/healthz", status="200") == 1
