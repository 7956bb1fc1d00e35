"""The API's OpenAPI document; what it allows and forbids is tried in test_local_runtime.py."""

from fastapi.testclient import TestClient

ROUTES = {
    "GET /healthz",
    "GET /readyz",
    "GET /users/{user_id}/recommendations",
    "GET /users/{user_id}/features",
    "GET /rentals/{rental_id}/features",
    "POST /ratings:predict",
    "POST /feedback",
    "POST /v1/events",
}


def test_every_route_says_what_it_takes_what_it_answers_and_how_it_fails(api: TestClient) -> None:
    found = api.get("/openapi.json").json()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == ROUTES
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for name, operation in operations.items():
        assert operation["description"], name
        for status, response in operation["responses"].items():
            assert response["description"]
            if status[0] in "45" and (name, status) != ("GET /readyz", "503"):
                by_server = status == "400" and name.startswith("GET")
                assert response["content"] == ({"text/plain": {}} if by_server else problem), name
        writes = name in ("POST /feedback", "POST /v1/events")
        assert ("401" in operation["responses"]) == ("security" in operation) == writes
    assert found["info"]["version"] and found["info"]["description"]
