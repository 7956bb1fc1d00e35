"""Decisions, wishes and the lock of rollouts, in SQLite and in PostgreSQL."""

import math
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from serving.decision_log import Action, DecisionLog
from serving.rollback_request import ask, asked, withdraw
from serving.rollout import RolloutRunningError, exclusive, rollout
from serving.rollout_database import RolloutDatabaseError
from serving.settings import CHECKOUT, ServingSettings

HOLD = """
import sys
from serving.rollout_database import RolloutDatabase
from serving.settings import ServingSettings
with RolloutDatabase(ServingSettings().decisions).hold() as held:
    print(held, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(settings_of_either: ServingSettings) -> ServingSettings:
    return settings_of_either


def test_decisions_are_kept_in_order(settings: ServingSettings) -> None:
    log = DecisionLog(settings.decisions)
    log.append("v3", "v4", 10, Action.START, ["10 %"])
    log.append("v3", "v4", 10, Action.ROLLBACK, ["schlechter ☹ 'x'; --"], {"a": 0.1 + 0.2, "b": math.nan})

    first, second = DecisionLog(settings.decisions).read()

    assert (first.champion, first.canary, first.share, first.action) == ("v3", "v4", 10, "start")
    assert second.reasons == ["schlechter ☹ 'x'; --"]
    assert second.figures["a"] == 0.1 + 0.2 and math.isnan(second.figures["b"])
    assert first.at <= second.at and log.last() == log.rolled_back("v4") != first


def test_a_wish_is_of_one_predictor_and_can_be_withdrawn(settings: ServingSettings) -> None:
    log = DecisionLog(settings.decisions)
    ask(log, "v4", "first")
    ask(DecisionLog(settings.decisions), "v4", "second")

    wish = asked(log, "v4")
    assert wish is not None and wish.reasons == ["by hand: second"]
    assert asked(log, "v5") is None
    withdraw(log)
    assert asked(log, "v4") is None


def test_two_that_begin_at_once_make_the_tables_once(settings: ServingSettings) -> None:
    begin, failures = threading.Barrier(8), []

    def open_it() -> None:
        begin.wait()
        try:
            DecisionLog(settings.decisions).append("v3", "v4", 1, Action.START, [])
        except RolloutDatabaseError as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(DecisionLog(settings.decisions).read()) == 8


def test_a_second_rollout_is_refused_until_the_process_of_the_first_has_ended(
    settings: ServingSettings, tmp_path: Path
) -> None:
    """Where the decisions are in PostgreSQL, the other one may have another home."""
    home = settings.home if not settings.decisions_url else tmp_path / "elsewhere"
    environment = {"RENTALS_HOME": str(home), "RENTALS_DECISIONS_URL": settings.decisions_url}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout and holder.stdout.readline() == b"True\n"
    log = DecisionLog(settings.decisions)
    try:
        assert log.is_held()
        with pytest.raises(RolloutRunningError, match="another rollout is running"):
            rollout(4, settings)
    finally:
        holder.kill()
        holder.communicate()
    # PostgreSQL notices a moment later.
    while log.is_held():
        pass
    with exclusive(settings):
        assert log.is_held()


# PostgreSQL


@pytest.fixture
def url(new_database: object) -> str:
    return new_database()  # type: ignore[operator,no-any-return]


def test_who_has_lost_the_lock_decides_nothing_any_more(url: str, tmp_path: Path) -> None:
    """As when the network was away for long: by then another rollout may run."""
    settings = ServingSettings(home=tmp_path, decisions_url=url)
    with exclusive(settings) as lost:
        lost.append("v3", "v4", 10, Action.START, [])
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        with exclusive(settings) as other:
            for _ in range(2):
                with pytest.raises(RolloutDatabaseError, match=r"RENTALS_DECISIONS_URL|was lost"):
                    lost.append("v3", "v4", 10, Action.PROMOTE, [])
            other.append("v3", "v4", 10, Action.ROLLBACK, [])
    assert [one.action for one in DecisionLog(settings.decisions).read()] == ["start", "rollback"]


def test_who_may_only_read_sees_the_decisions(url: str, tmp_path: Path) -> None:
    settings = ServingSettings(home=tmp_path, decisions_url=url)
    DecisionLog(settings.decisions).append("v3", "v4", 10, Action.START, [])
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("DROP ROLE IF EXISTS onlooker")
        server.execute("CREATE ROLE onlooker LOGIN")
        server.execute("GRANT SELECT ON decisions TO onlooker")
    watching = settings.model_copy(update={"decisions_url": url.replace("//postgres:@", "//onlooker:@")})

    log = DecisionLog(watching.decisions)
    assert len(log.read()) == 1 and not log.is_held()
    with pytest.raises(RolloutDatabaseError, match="permission denied"):
        log.append("v3", "v4", 10, Action.PROMOTE, [])


def test_a_server_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    settings = ServingSettings(home=tmp_path, decisions_url="postgres://me:s3cret@127.0.0.1:9/rentals")
    with pytest.raises(RolloutDatabaseError, match=r"127\.0\.0\.1/rentals .*RENTALS_DECISIONS_URL") as told:
        DecisionLog(settings.decisions)
    assert "s3cret" not in str(told.value)


# SQLite


def test_a_log_of_before_is_read(tmp_path: Path) -> None:
    settings = ServingSettings(home=tmp_path / "a home: 100% 'odd'?#")
    settings.run.mkdir(parents=True)
    with sqlite3.connect(settings.run / "decisions.db") as database:
        database.execute(
            "CREATE TABLE decisions (id INTEGER PRIMARY KEY, at TEXT NOT NULL, champion TEXT NOT NULL,"
            " canary TEXT NOT NULL, share INTEGER NOT NULL, action TEXT NOT NULL, reasons TEXT NOT NULL,"
            " figures TEXT NOT NULL)"
        )
        row = ("2026-01-05T10:00:00+00:00", "v3", "v4", 50, "promote", '["better"]', '{"x": 0.5}')
        database.execute(f"INSERT INTO decisions VALUES (1, {', '.join('?' * 7)})", row)  # noqa: S608
    database.close()

    log = DecisionLog(settings.decisions)
    log.append("v4", "v5", 1, Action.START, [])
    first, second = log.read()
    assert (first.action, first.reasons, first.figures) == ("promote", ["better"], {"x": 0.5})
    assert second.canary == "v5"


def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    settings = ServingSettings(home=tmp_path)
    settings.run.mkdir(parents=True)
    (settings.run / "decisions.db").write_bytes(b"no database" * 100)
    with pytest.raises(RolloutDatabaseError, match=r"decisions\.db .*not a database.*restore it, or move it"):
        DecisionLog(settings.decisions)
