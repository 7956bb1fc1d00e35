"""Load on a server: each answer is read to its end, and what breaks costs only itself."""

import socket
import threading
from collections.abc import Iterator
from itertools import cycle

import httptools
import pytest

from flows.load_generator import Connection, Question, measure

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}"
NONSENSE = b"hello\r\n\r\n"
CLOSING = (LAST, CUT)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Gives the answers of the test's parameter in turn, whatever is asked, one connection after another."""
    answers = cycle(request.param)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while asked := connection.recv(65_536):
                    assert (
                        asked.startswith(b"POST /path HTTP/1.1\r\nHost: 127.0.0.1:")
                        and b"\r\nX: y\r\n" in asked
                    )
                    answer = next(answers)
                    # In two parts, as a network may deliver it.
                    connection.sendall(answer[:25])
                    connection.sendall(answer[25:])
                    if answer in CLOSING:
                        break

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    # A thread that waits in accept is not woken by close alone.
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


ASKED = Question("POST", "/path", b"body", {"X": "y"})


@pytest.mark.parametrize(
    ("server", "statuses"),
    [((GOOD, CHUNKED, REFUSED), [200, 200, 503, 200]), ((GOOD, LAST), [200, 200, 200, 200])],
    indirect=["server"],
)
def test_every_answer_is_read_to_its_end(server: str, statuses: list[int]) -> None:
    connection = Connection(server)
    assert [connection.ask(ASKED) for _ in statuses] == statuses
    connection.close()


@pytest.mark.parametrize(
    ("server", "statuses"),
    [((GOOD, CUT), [200, None, 200, None]), ((NONSENSE, GOOD), [None, 200, None, 200])],
    indirect=["server"],
)
def test_a_broken_answer_costs_only_itself(server: str, statuses: list[int | None]) -> None:
    connection = Connection(server)
    for expected in statuses:
        if expected is None:
            with pytest.raises((OSError, httptools.HttpParserError)):
                connection.ask(ASKED)
        else:
            assert connection.ask(ASKED) == expected
    connection.close()


def test_a_server_that_is_away_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert measure(url, lambda _: ASKED, 2, 10)["failed"] >= 10
