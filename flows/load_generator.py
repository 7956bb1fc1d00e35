"""Load on an HTTP server: clients that ask as fast as they are answered, over connections of their own."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools
import numpy as np

PATIENCE = 600
"""Seconds after which a measurement counts as stuck."""

ANSWER_SECONDS = 30
"""Longest wait for the next bytes of an answer."""

RECEIVED_BYTES = 65_536
"""Read at a time; an answer with ten rentals has some three thousand."""


@dataclass(frozen=True)
class Question:
    """One request."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Connection:
    """HTTP/1.1 over a socket that is kept open.

    ``http.client`` takes several times as much of the processor, which the server wants, too.
    """

    def __init__(self, url: str) -> None:
        """Take the server's address; the first question connects."""
        address = urlsplit(url)
        self._address = str(address.hostname), address.port or 80
        self._socket: socket.socket | None = None

    def ask(self, question: Question) -> int:
        """Return the status of the answer, which is read to its end.

        Raises:
            OSError: there is no answer, or none in time; the next question connects anew.
            HttpParserError: of httptools; what comes is not HTTP.
        """
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, ANSWER_SECONDS)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(self._written(question))
            while not answer.complete:
                if not (received := self._socket.recv(RECEIVED_BYTES)):
                    raise ConnectionError("the connection was closed amid an answer")
                parser.feed_data(received)
        except (OSError, httptools.HttpParserError):
            self.close()
            raise
        if not parser.should_keep_alive():
            self.close()
        return parser.get_status_code()

    def close(self) -> None:
        """Close the socket, if there is one."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _written(self, question: Question) -> bytes:
        body = question.body or b""
        headers = {"Host": ":".join(map(str, self._address)), "Content-Length": len(body), **question.headers}
        fields = [f"{name}: {value}" for name, value in headers.items()]
        lines = [f"{question.method} {question.path} HTTP/1.1", *fields, "", ""]
        return "\r\n".join(lines).encode() + body


class _Answer:
    """Told by the parser how far an answer has come."""

    def __init__(self) -> None:
        self.complete = False

    def on_message_complete(self) -> None:
        self.complete = True


@dataclass
class Load:
    """What came of the requests so far, in the order in which they ended."""

    seconds: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """0 where there was no answer at all."""

    began: float = field(default_factory=time.perf_counter)

    def figures(self) -> dict[str, float]:
        """Return milliseconds, requests a second, and the failed ones."""
        milliseconds = np.array(self.seconds) * 1000
        return {
            "p50_ms": round(float(np.quantile(milliseconds, 0.5)), 3),
            "p99_ms": round(float(np.quantile(milliseconds, 0.99)), 3),
            "requests_per_s": round(len(self.seconds) / (time.perf_counter() - self.began), 1),
            "failed": sum(status != 200 for status in self.statuses),
        }


@contextmanager
def loading(url: str, question: Callable[[int], Question], clients: int) -> Iterator[Load]:
    """Ask until the block ends.

    Args:
        url: the server's address.
        question: the request of a number, counted over all clients.
        clients: threads, each with a connection that it keeps open.
    """
    load, over, numbers = Load(), threading.Event(), itertools.count()

    def ask_on() -> None:
        connection = Connection(url)
        while not over.is_set():
            asked = question(next(numbers))
            began = time.perf_counter()
            try:
                status = connection.ask(asked)
            except (OSError, httptools.HttpParserError):
                status = 0
            load.seconds.append(time.perf_counter() - began)
            load.statuses.append(status)
        connection.close()

    threads = [threading.Thread(target=ask_on, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()


def measure(url: str, question: Callable[[int], Question], clients: int, requests: int) -> dict[str, float]:
    """Return the figures of so many requests, after a tenth as many that are not counted."""
    with loading(url, question, clients) as load:
        _wait(load, requests // 10)
    with loading(url, question, clients) as load:
        _wait(load, requests)
        return load.figures()


def _wait(load: Load, requests: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(load.seconds) < requests:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(load.seconds)} of {requests} requests were answered in {PATIENCE} s")
        time.sleep(0.01)
