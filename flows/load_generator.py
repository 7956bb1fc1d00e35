"""Load on an HTTP server: clients that ask as fast as they are answered, over connections of their own."""

import http.client
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

PATIENCE = 600
"""Seconds after which a measurement counts as stuck."""


@dataclass(frozen=True)
class Question:
    """One request."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


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
        address = urlsplit(url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
        while not over.is_set():
            asked = question(next(numbers))
            began = time.perf_counter()
            try:
                connection.request(asked.method, asked.path, asked.body, dict(asked.headers))
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
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
