"""The clients against a server that fails as servers do; with the real API they are in test_local_runtime."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from serving import client as client_module
from serving.client import AsyncRecommenderClient, RecommenderClient, RecommenderError
from serving.ports import HOST, find_free

ANSWER = {
    "request_id": "q",
    "user_id": "u",
    "model_version": "1",
    "predictor": "v1",
    "cold_start": False,
    "degraded": [],
    "items": [{"rental_id": "r", "predicted_rating": 4.0, "score": 1.0, "reasons": []}],
}


class Server(ThreadingHTTPServer):
    """Gives the statuses in turn, then 200; notes what it was asked."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.asked = list(statuses), []  # type: ignore[var-annotated]
        super().__init__((HOST, 0), Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        body = json.dumps(ANSWER if status == 200 else {"detail": f"failed with {status}"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LONGEST_PAUSE", 0.01)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Any:
    """Calls a method of one of the two clients."""

    def sync(url: str, method: str, *arguments: Any, **named: Any) -> Any:
        with RecommenderClient(url) as client:
            return getattr(client, method)(*arguments, **named)

    def asynchronous(url: str, method: str, *arguments: Any, **named: Any) -> Any:
        async def call() -> Any:
            async with AsyncRecommenderClient(url) as client:
                return await getattr(client, method)(*arguments, **named)

        return asyncio.run(call())

    return sync if request.param == "sync" else asynchronous


@pytest.fixture
def serve() -> Iterator[Any]:
    running: list[Server] = []

    def start(*statuses: int) -> Server:
        running.append(Server(*statuses))
        threading.Thread(target=running[-1].serve_forever).start()
        return running[-1]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_question_is_tried_again_while_the_failure_may_pass(serve: Any, ask: Any) -> None:
    server = serve(503, 429)
    found = ask(server.url, "recommendations", "a/b", k=3, category=["gown", "suit"], price_to=9, area=None)
    assert found.items[0].rental_id == "r"
    path = "/users/a%2Fb/recommendations?k=3&category=gown&category=suit&price_to=9"
    assert server.asked == [path] * 3


def test_it_is_given_up_with_the_reason(serve: Any, ask: Any) -> None:
    server = serve(503, 503, 503, 503)
    with pytest.raises(RecommenderError, match="HTTP 503: failed with 503") as caught:
        ask(server.url, "recommendations", "u")
    assert caught.value.status == 503 and len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_what_will_not_pass_is_not_tried_again(serve: Any, ask: Any, status: int) -> None:
    server = serve(status)
    with pytest.raises(RecommenderError, match=f"HTTP {status}"):
        ask(server.url, "recommendations", "u")
    assert len(server.asked) == 1


def test_feedback_is_never_sent_twice(serve: Any, ask: Any) -> None:
    server = serve(503)
    with pytest.raises(RecommenderError, match="HTTP 503"):
        ask(server.url, "feedback", "q", "u", "r", 4.0)
    assert server.asked == ["/feedback"]


def test_a_server_that_is_not_there_is_told(ask: Any) -> None:
    with pytest.raises(RecommenderError, match=r"does not answer.*is it up") as caught:
        ask(f"http://{HOST}:{find_free(set())}", "recommendations", "u")
    assert caught.value.status is None
