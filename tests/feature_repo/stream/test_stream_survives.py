"""The real stream in a process of its own: killed, restarted, fed twice, and asked what it lost."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from feature_repo.stream import inbox, quarantine
from tests.feature_repo.stream.conftest import RENTALS, USERS, event, marketplace, online

pytestmark = pytest.mark.slow

START_SECONDS = 180
"""Longest wait for anything, on a machine that is busy with other tests."""


class Stream:
    """`python -m feature_repo.stream` on a home."""

    def __init__(self, settings):
        self.settings = settings
        self.start()

    def start(self):
        environment = {
            **os.environ,
            "RENTALS_HOME": str(self.settings.home),
            "RENTALS_SPARK_MASTER": "local[1]",
        }
        environment |= {"RENTALS_STREAM_LANDING_SECONDS": "0.5", "RENTALS_SPARK_DRIVER_MEMORY": "1g"}
        self._log = (self.settings.home / "log.txt").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "feature_repo.stream"],
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def stop(self):
        self.process.terminate()
        status = self.process.wait(START_SECONDS)
        self._log.close()
        return status

    def wait_until(self, condition):
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            assert self.process.poll() is None, (self.settings.home / "log.txt").read_text()
            assert time.monotonic() < deadline, (self.settings.home / "log.txt").read_text()
            time.sleep(0.02)

    def accepted(self):
        path = self.settings.home / "stream" / "state.db"
        if not path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            try:
                row = database.execute("SELECT number FROM counts WHERE name = 'accepted'").fetchone()
            except sqlite3.OperationalError:
                return 0
        return row[0] if row else 0

    def waiting(self):
        return list(inbox.folder(self.settings).glob("*.jsonl"))


@pytest.fixture
def stream(tmp_path):
    settings = FeatureSettings(home=tmp_path)
    marketplace(settings.lake)
    running = Stream(settings)
    yield running
    running.kill()


def some_events(rng, prefix, size):
    now = datetime.now(UTC)
    return [
        event(
            f"{prefix}-{number}",
            now - timedelta(seconds=rng.choice([0, 1, 3_600, 9 * 86_400])),
            rng.choice([*USERS, "nobody"]),
            rng.choice([*RENTALS, "unknown"]),
            rng.choice([1.0, 2.5, 5.0]),
        )
        for number in range(size)
    ]


def test_killed_and_fed_twice_it_loses_nothing_and_doubles_nothing(stream, tmp_path):
    rng = random.Random(11)  # noqa: S311
    sent, files = [], tmp_path / "sent before"
    files.mkdir()
    for kill in range(4):
        before = stream.accepted()
        for number in range(40):
            events = some_events(rng, f"{kill}-{number}", 10)
            inbox.publish(stream.settings, events + sent[-3:])
            sent += events
        for path in stream.waiting():
            shutil.copy(path, files)
        # Some of it is in, some is not: the kill falls into the middle of the stream.
        stream.wait_until(lambda before=before: stream.accepted() > before)
        inbox.publish(stream.settings, rng.sample(sent, 20))
        time.sleep(rng.random())
        stream.kill()
        for path in rng.sample(sorted(files.iterdir()), 10):
            shutil.copy(path, inbox.folder(stream.settings) / path.name)
        if kill == 2:
            shutil.rmtree(tmp_path / "stream" / "checkpoint")
        stream.start()
    stream.wait_until(lambda: not stream.waiting() and stream.accepted() == len(sent))
    assert stream.stop() == 0

    landed = lake.read(stream.settings.lake, "ratings")
    assert sorted(landed["rating_id"]) == sorted(each["rating_id"] for each in sent)
    assert stream.accepted() == len(sent)
    assert landed.groupby("arrived_at").size().max() < len(sent)
    wanted = pd.DataFrame(sent)
    for user_id, rows in wanted.groupby("user_id"):
        found = online(stream.settings, "user_features", user_id)
        recent = pd.to_datetime(rows["event_timestamp"]) > datetime.now(UTC) - timedelta(days=5)
        assert found["user_rentals_all"] == len(rows)
        assert found["user_rentals_7d"] == recent.sum()
        assert found["user_rating_mean_all"] == pytest.approx(rows["rating"].mean())
        last = pd.to_datetime(rows["event_timestamp"]).max().timestamp()
        assert found["user_last_rental_at"] == pytest.approx(last, abs=1e-3)
    for rental_id, rows in wanted.groupby("rental_id"):
        assert online(stream.settings, "rental_features", rental_id)["rental_rentals_all"] == len(rows)


def test_files_that_are_not_as_they_should_be_stop_nothing(stream):
    good = event("good", datetime.now(UTC))
    folder = inbox.folder(stream.settings)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.jsonl").touch()
    (folder / "half written.jsonl").write_bytes(json.dumps(good).encode() + b'\n{"rating_id": "hal')
    (folder / "large.jsonl").write_bytes(b"x" * 1_000_000 + b"\n\xff\xfe\n\n")
    (folder / ".being written.jsonl").write_text(json.dumps(event("hidden", datetime.now(UTC))))
    stream.wait_until(lambda: stream.accepted() == 1 and not (folder / "large.jsonl").exists())
    second = subprocess.run(
        [sys.executable, "-m", "feature_repo.stream"],
        env={**os.environ, "RENTALS_HOME": str(stream.settings.home)},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    assert second.returncode == 1
    assert "stop it first" in second.stderr
    assert stream.stop() == 0
    assert lake.read(stream.settings.lake, "ratings")["rating_id"].tolist() == ["good"]
    rows = [
        json.loads(line)
        for file in quarantine.folder(stream.settings).iterdir()
        for line in file.read_text().splitlines()
    ]
    assert sorted(row["source"] for row in rows) == ["half written.jsonl", "large.jsonl", "large.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == [".being written.jsonl", "empty.jsonl"]
