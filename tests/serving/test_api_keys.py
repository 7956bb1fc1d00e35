"""Routes that write ask for a key as soon as there is one."""

import stat

import pytest
from fastapi.testclient import TestClient

from serving import api_keys
from serving.__main__ import main
from serving.client import RecommenderClient
from serving.settings import ServingSettings

FEEDBACK = {"request_id": "q", "user_id": "u", "rental_id": "r", "rating": 5.0}
EVENT = {
    "rating_id": "x",
    "user_id": "u",
    "rental_id": "r",
    "rating": 5.0,
    "event_timestamp": "2024-01-01T00:00:00Z",
}
WRITES = [("/feedback", FEEDBACK), ("/v1/events", EVENT)]


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_without_keys_everybody_may_write(api: TestClient, path: str, body: dict[str, object]) -> None:
    assert api.post(path, json=body).status_code == 202


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_with_a_key_only_its_bearer_may(
    api: TestClient, settings: ServingSettings, path: str, body: dict[str, object]
) -> None:
    key, other = api_keys.create(settings.api_keys), api_keys.create(settings.api_keys)

    for headers in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {key}"},
        {"Authorization": f"Bearer {key[:-1]}"},
        {"Authorization": f"Bearer {api_keys._hash(key)}"},
    ):
        refused = api.post(path, json=body, headers=headers)
        assert refused.status_code == 401, headers
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "python -m serving key" in refused.json()["detail"]
    for known in (key, other):
        assert api.post(path, json=body, headers={"Authorization": f"Bearer {known}"}).status_code == 202
    assert api.get("/healthz").status_code == 200


def test_a_removed_line_no_longer_opens_and_an_empty_file_opens_to_nobody(
    api: TestClient, settings: ServingSettings
) -> None:
    headers = {"Authorization": f"Bearer {api_keys.create(settings.api_keys)}"}
    assert api.post("/feedback", json=FEEDBACK, headers=headers).status_code == 202
    # A file that was edited by hand: no line break at its end, and a word of somebody.
    other = settings.api_keys.read_text().strip()
    settings.api_keys.write_text(f"Größe {other}")
    key = api_keys.create(settings.api_keys)
    for known in (headers, {"Authorization": f"Bearer {key}"}):
        assert api.post("/feedback", json=FEEDBACK, headers=known).status_code == 202
    settings.api_keys.write_text("")
    assert api.post("/feedback", json=FEEDBACK, headers=headers).status_code == 401
    assert api.post("/feedback", json=FEEDBACK).status_code == 401


def test_the_file_holds_no_key_and_is_its_owners(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_HOME", str(settings.home))
    keys = []
    for _ in range(2):
        assert main(["key"]) == 0
        keys.append(capsys.readouterr().out.strip())

    text = settings.api_keys.read_text()
    assert len(set(keys)) == len(text.split()) == 2
    assert not any(key in text for key in keys)
    assert stat.S_IMODE(settings.api_keys.stat().st_mode) == 0o600


def test_the_openapi_document_says_which_routes_ask_for_a_key(api: TestClient) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    secured = {path for path, methods in paths.items() for one in methods.values() if one.get("security")}
    assert secured == {"/feedback", "/v1/events"}


def test_the_client_brings_the_key_of_its_argument_or_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sent(client: RecommenderClient) -> str | None:
        with client:
            return client._client.headers.get("Authorization")

    monkeypatch.delenv("RENTALS_API_KEY", raising=False)
    assert sent(RecommenderClient("http://127.0.0.1")) is None
    monkeypatch.setenv("RENTALS_API_KEY", "one")
    assert sent(RecommenderClient("http://127.0.0.1")) == "Bearer one"
    assert sent(RecommenderClient("http://127.0.0.1", api_key="two")) == "Bearer two"
