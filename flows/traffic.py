"""Traffic of real people: a later period's rentals are asked for and rated through the HTTP API."""

import itertools
import threading
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from serving.client import RecommenderClient

CLIENTS = 2
"""People asking at a time: as many as the cores of a small machine keep busy beside the servers."""

RENTALS_SHOWN = 10
"""A person sees so many rentals, and can rate what was rented only if it is among them."""


@dataclass
class Traffic:
    """What came of the requests so far."""

    requests: int = 0
    failed: int = 0
    retried: int = 0
    """Answers for which the API had to ask a second predictor, because the first one failed."""

    by_version: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, version: str, steps: Iterable[str]) -> None:
        """Count an answer of ``version``, and the steps by which it was less than it could be."""
        with self._lock:
            self.requests += 1
            self.by_version[version] += 1
            self.retried += "other predictor" in steps

    def failure(self, error: Exception) -> None:
        """Count a request without an answer."""
        with self._lock:
            self.requests += 1
            self.failed += 1
            self.errors.append(f"{type(error).__name__}: {error}")


class Person(NamedTuple):
    """One rental of the past: who asked for what, what was rented and how it was rated (1..5)."""

    user_id: str
    purpose: str | None
    size: float | None
    rental_id: str
    rating: float


def _person(event: dict[Hashable, Any]) -> Person:
    size = None if pd.isna(event["size"]) else event["size"]
    return Person(event["user_id"], event["purpose"], size, event["rental_id"], event["rating"])


@contextmanager
def replaying(api_url: str, events: pd.DataFrame) -> Iterator[Traffic]:
    """Ask for recommendations on behalf of the events' users, in turn and over again, until the block ends.

    Each user asks with the event's purpose and size, and rates the rental that was really rented if it
    is among the recommended: how often that happens is the reward by which a canary is compared.
    """
    # A user stays on one predictor: with one rental a person, the share of requests is that of people.
    first = events.sort_values("event_timestamp").drop_duplicates("user_id")
    people = itertools.cycle([_person(row) for row in first.to_dict("records")])
    next_person, traffic, over = threading.Lock(), Traffic(), threading.Event()

    def ask() -> None:
        with RecommenderClient(api_url, attempts=1) as client:
            while not over.is_set():
                with next_person:
                    person = next(people)
                try:
                    answer = client.recommendations(
                        person.user_id, k=RENTALS_SHOWN, purpose=person.purpose, size=person.size
                    )
                    if person.rental_id in {item.rental_id for item in answer.items}:
                        client.feedback(answer.request_id, person.user_id, person.rental_id, person.rating)
                # Whatever keeps a person from an answer is a failed request, and must not end the traffic.
                except Exception as error:
                    traffic.failure(error)
                else:
                    traffic.answered(answer.model_version, [each.step for each in answer.degraded])

    threads = [
        threading.Thread(target=ask, name=f"person-{number}", daemon=True) for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        over.set()
        for thread in threads:
            thread.join()
