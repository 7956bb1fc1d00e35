"""How often a client may ask, and what every answer's headers say."""

import pytest
from fastapi.testclient import TestClient

from serving.api import create_app
from serving.components import new_state, save_state
from serving.security_headers import HEADERS
from serving.settings import ServingSettings


def app_of(settings: ServingSettings, store: object, **update: object):
    settings = settings.model_copy(update=update)
    save_state(new_state(settings), settings)
    return create_app(settings, store)


def test_who_asks_too_often_is_told_when_to_come_back(settings, memory_features) -> None:
    app = app_of(settings, memory_features, requests_per_minute=3)
    with TestClient(app, client=("10.0.0.1", 1)) as one, TestClient(app, client=("10.0.0.2", 1)) as other:
        answers = [one.get("/users/u0/features") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        refused = answers[-1]
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"].startswith("more than 3 requests within a minute: ask again in ")
        # A made-up key opens no new window, others are let in, and who watches sees the load.
        assert one.get("/users/u0/features", headers={"Authorization": "Bearer x"}).status_code == 429
        assert other.get("/users/u0/features").status_code == 200
        assert one.get("/healthz").status_code == 200
        metrics = one.get("/metrics").text
    assert 'status="429"' in metrics


def test_without_a_limit_nobody_is_refused(settings, memory_features) -> None:
    with TestClient(app_of(settings, memory_features)) as api:
        assert {api.get("/healthz").status_code for _ in range(300)} == {200}
        assert {api.get("/users/u0/features").status_code for _ in range(300)} == {200}


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/metrics", 200), ("/nowhere", 404), ("/users/u0/features?x=1", 200)]
)
def test_browsers_are_told_to_run_and_keep_nothing(api: TestClient, path: str, status: int) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
