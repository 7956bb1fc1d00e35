"""How long it takes from an event to the online feature, while a thousand events a second arrive."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from feature_repo import history, lake
from feature_repo.names import USER_VIEW
from feature_repo.settings import FeatureSettings
from feature_repo.store import materialize, open_store, publish
from feature_repo.stream import inbox

EVENTS_A_SECOND = 1_000
SECONDS = 30
WARM_SECONDS = 10
"""The first micro-batches are slow: the JVM compiles what it runs."""

FILES_A_SECOND = 10
START_SECONDS = 300
"""Longest wait for the stream to start, on a lake of some millions of ratings."""

POLL_SECONDS = 0.01
PURPOSES = ("wedding", "work", "party", "vacation", "everyday", None)


class _Watch:
    """Sees by Feast's own read when a user who has never rented has a first rental."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._store = open_store(settings)
        self._sent: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.seconds: list[float] = []

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def expect(self, user_id: str, created: float) -> None:
        self._sent[user_id] = created

    @property
    def open(self) -> int:
        return len(self._sent)

    def _look(self) -> None:
        feature = "user_rentals_all"
        while not self._stop.wait(POLL_SECONDS):
            waiting = dict(self._sent)
            if not waiting:
                continue
            rows = [{"user_id": user_id} for user_id in waiting]
            found = self._store.get_online_features([f"{USER_VIEW}:{feature}"], rows).to_dict()[feature]
            now = time.time()
            for (user_id, created), value in zip(waiting.items(), found, strict=True):
                if value is not None:
                    self.seconds.append(now - created)
                    del self._sent[user_id]


def event_to_online(settings: FeatureSettings) -> dict[str, Any]:
    """Seconds from an event's creation to its feature being readable, at ``EVENTS_A_SECOND``.

    A tenth of a second of them is the producer's own, which collects the events of a file. The rest is, in
    about equal parts, the wait for the next micro-batch, Spark's planning and logs of a micro-batch, and the
    engine: folding, the packed rows of four views, SQLite.

    Args:
        settings: of a home with a lake, which is copied.
    """
    measured = settings.model_copy(update={"home": settings.home / "event-to-online"})
    shutil.rmtree(measured.home, ignore_errors=True)
    shutil.copytree(settings.lake, measured.lake)
    until = lake.clock(measured.lake)
    history.compute(measured, until)
    publish(measured, until)
    environment = {**os.environ, "RENTALS_HOME": str(measured.home)}
    command = [sys.executable, "-m", "feature_repo.stream"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        seconds = _measure(measured, process)
        process.terminate()
        if process.wait(START_SECONDS):
            raise RuntimeError("the stream failed: run `make stream` to see why")
    finally:
        process.kill()
        process.wait()
    began = time.monotonic()
    until = pd.Timestamp.now("UTC")
    history.compute(measured, until)
    materialize(open_store(measured), until)
    baseline = time.monotonic() - began
    value = float(np.median(seconds))
    return {
        "value": round(value, 3),
        "unit": "s",
        "baseline": round(baseline, 1),
        "ratio": round(baseline / value, 1),
        "p99": round(float(np.quantile(seconds, 0.99)), 3),
        "how": (
            f"{EVENTS_A_SECOND:,} events a second through the inbox for {SECONDS} s, {FILES_A_SECOND} files "
            f"a second; from the creation of {len(seconds)} of the events to get_online_features showing it; "
            "baseline: extending the history by these events and materializing it, in a session that is warm"
        ),
    }


def _measure(settings: FeatureSettings, process: "subprocess.Popen[bytes]") -> list[float]:
    users = lake.read(settings.lake, "users")["user_id"].tolist()
    rentals = lake.read(settings.lake, "rentals")["rental_id"].tolist()
    draw = random.Random(0)  # noqa: S311

    def event(name: str, user_id: str) -> dict[str, Any]:
        return {
            "rating_id": name,
            "user_id": user_id,
            "rental_id": draw.choice(rentals),
            "rating": draw.randint(1, 5),
            "purpose": draw.choice(PURPOSES),
            "event_timestamp": datetime.now(UTC).isoformat(),
        }

    with _Watch(settings) as watch:
        _first(settings, process, watch, event("bench first", "bench first"))
        size = EVENTS_A_SECOND // FILES_A_SECOND
        began = time.time()
        for number in range((WARM_SECONDS + SECONDS) * FILES_A_SECOND):
            if number == WARM_SECONDS * FILES_A_SECOND:
                watch.seconds.clear()
            # Of the events of a file, one is watched, each time at another place.
            watched, created, events = draw.randrange(size), 0.0, []
            for place in range(size):
                due = began + (number + place / size) / FILES_A_SECOND
                if place == watched:
                    time.sleep(max(0.0, due - time.time()))
                    created = time.time()
                user_id = f"bench {number}" if place == watched else draw.choice(users)
                events.append(event(f"bench {number} {place}", user_id))
            time.sleep(max(0.0, began + (number + 1) / FILES_A_SECOND - time.time()))
            inbox.publish(settings, events)
            watch.expect(f"bench {number}", created)
        deadline = time.monotonic() + START_SECONDS
        while watch.open and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if watch.open:
            raise RuntimeError(f"{watch.open} events never came online: run `make stream` to see why")
        return watch.seconds


def _first(
    settings: FeatureSettings, process: "subprocess.Popen[bytes]", watch: _Watch, event: dict[str, Any]
) -> None:
    """Wait until the stream has brought its first event online."""
    inbox.publish(settings, [event])
    watch.expect(event["user_id"], time.time())
    deadline = time.monotonic() + START_SECONDS
    while watch.open:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the stream did not start: run `make stream` to see why")
        time.sleep(POLL_SECONDS)
