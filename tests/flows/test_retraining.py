"""When drift may start a training, and who is called when training does not help."""

import fcntl
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import retraining
from flows.brake import fruitless, objection
from flows.retraining import retrain
from flows.retraining_log import Outcome, Retraining, log_of
from flows.runs import FlowFailedError
from flows.settings import CHECKOUT, FlowSettings

NOW = datetime(2026, 5, 1, tzinfo=UTC)
UNTIL = pd.Timestamp("2026-05-01", tz="UTC")
SETTINGS = FlowSettings(retrain_cooldown_days=7, retrain_daily_budget=2, retrain_patience=3)


def training(days_ago: float, outcome: Outcome = Outcome.REGISTERED, hours_ago: float = 100) -> Retraining:
    until = UNTIL - pd.Timedelta(days=days_ago)
    return Retraining(NOW - timedelta(hours=hours_ago), until, "drift", outcome, None, "")


def against(*past: Retraining, stopped: str | None = None) -> str | None:
    return objection(UNTIL, past, NOW, stopped, SETTINGS)


def test_the_first_alarm_trains() -> None:
    assert against() is None


def test_a_person_can_stop_it() -> None:
    assert "retraining is stopped (holidays)" in (against(stopped="holidays") or "")


def test_it_rests_until_there_are_new_ratings() -> None:
    assert "2026-04-25: the next one may be on data 7 days later" in (against(training(6)) or "")
    assert against(training(7)) is None
    assert against(training(0, Outcome.FAILED)) is None, "it has learnt nothing from that data"
    assert "data 14 days later" in (against(training(13, Outcome.REFUSED)) or "")
    assert against(training(14, Outcome.REFUSED)) is None
    assert "data 28 days later" in (
        against(training(50, Outcome.REFUSED), training(27, Outcome.ROLLED_BACK)) or ""
    )
    forgiven = training(50, Outcome.REFUSED), training(27, Outcome.ROLLED_BACK), training(0, Outcome.FORGIVEN)
    assert against(*forgiven) is None
    # A replay that begins anew goes back in time.
    assert against(training(-30)) is None


def test_a_day_has_a_budget() -> None:
    trainings = [training(30, hours_ago=hours) for hours in (23, 1)]
    assert against(*trainings) == "2 trainings began within a day, which is the budget"
    assert against(training(30, hours_ago=25), trainings[1]) is None


@pytest.mark.parametrize("last", [Outcome.FAILED, Outcome.REFUSED, Outcome.ROLLED_BACK])
def test_trainings_that_bring_nothing_end_in_a_call_for_a_person(last: Outcome) -> None:
    vain = [training(90, Outcome.REFUSED), training(60, Outcome.FAILED), training(30, last)]
    assert "the last 3 trainings brought nothing" in (against(*vain) or "")
    assert against(*vain[1:]) is None
    assert against(*vain, training(0, Outcome.FORGIVEN)) is None
    assert against(vain[0], training(45), *vain[1:]) is None


@given(st.lists(st.sampled_from(list(Outcome)), max_size=12))
def test_however_trainings_end_there_are_never_more_in_vain_than_patience_allows(ends: list[Outcome]) -> None:
    """A loop that obeys: each end happens only if nothing speaks against the training."""
    past: list[Retraining] = []
    for number, outcome in enumerate(ends):
        until = UNTIL + pd.Timedelta(days=30 * number)
        free = objection(until, past, NOW + timedelta(days=number), None, SETTINGS) is None
        if free or outcome is Outcome.FORGIVEN:
            past.append(Retraining(NOW + timedelta(days=number), until, "", outcome, None, ""))
        assert fruitless(past) <= SETTINGS.retrain_patience


class Flows:
    """Stands in for the flows that a retraining starts; those are tested by themselves."""

    def __init__(self) -> None:
        self.started: list[tuple[str, dict[str, Any]]] = []
        self.version: int | None = 2
        self.fails, self.promotes = False, True
        self.waiting: int | None = None

    def start(self, flow: str, **parameters: Any) -> Any:
        self.started.append((flow, parameters))
        if self.fails:
            raise FlowFailedError("no space left")
        if flow == "rollout":
            reasons = ["200 requests without a regression"] if self.promotes else ["slower"]
            outcome = SimpleNamespace(promoted=self.promotes, reasons=reasons)
            return SimpleNamespace(data=SimpleNamespace(outcome=outcome))
        if flow == "refresh":
            return SimpleNamespace(data=SimpleNamespace(version=self.version, conclusion="refreshed"))
        decision = "passed: better" if self.version else "refused: not better"
        gated = SimpleNamespace(decision=decision)
        return SimpleNamespace(data=SimpleNamespace(version=self.version, gated=gated))


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Flows:
    found = Flows()
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RENTALS_RETRAIN_DAILY_BUDGET", "4")
    monkeypatch.setattr(retraining, "start", found.start)
    monkeypatch.setattr(retraining, "waiting_version", lambda: found.waiting)
    return found


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("RENTALS_ALERT_URL", f"http://127.0.0.1:{server.server_port}")
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_alarm_trains_with_its_reason_and_window_and_rolls_out(flows: Flows) -> None:
    done = retrain("drift in purpose, price; performance: RMSE of version 1 rose", UNTIL, roll_out=True)

    assert flows.started == [
        (
            "train",
            {"until": "2026-05-01", "reason": "drift in purpose, price; performance: RMSE of version 1 rose"},
        ),
        ("rollout", {"version": 2}),
    ]
    assert done.version == 2
    assert done.conclusion.endswith("version 2 was promoted: 200 requests without a regression")
    (logged,) = log_of(FlowSettings()).read()
    assert (logged.outcome, logged.version, logged.until) == (Outcome.REGISTERED, 2, UNTIL)


def test_without_being_asked_nothing_is_rolled_out(flows: Flows) -> None:
    retrain("drift in purpose", UNTIL, roll_out=False)
    assert [flow for flow, _ in flows.started] == ["train"]


def test_a_training_is_written_down_before_it_starts(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = flows.start

    def watched(flow: str, **parameters: Any) -> Any:
        seen.append(log_of(FlowSettings()).read()[-1].outcome)
        return real(flow, **parameters)

    monkeypatch.setattr(retraining, "start", watched)
    retrain("drift in purpose", UNTIL, roll_out=False)
    assert seen == [Outcome.RUNNING]


def test_three_in_vain_call_a_person_once_and_stop(flows: Flows, webhook: list[str]) -> None:
    flows.version = None
    for month in range(3):
        retrain("drift in purpose", UNTIL + pd.Timedelta(days=300 * month), roll_out=True)
        if month == 1:
            flows.fails = True
            with pytest.raises(FlowFailedError):
                retrain("drift in purpose", UNTIL + pd.Timedelta(days=700), roll_out=True)
    assert [flow for flow, _ in flows.started] == ["train"] * 3
    assert len(webhook) == 1
    assert "3 trainings in a row brought nothing, the last one: no space left" in webhook[0]

    retraining.go(FlowSettings())
    flows.fails, flows.version = False, 7
    assert retrain("drift in purpose", UNTIL + pd.Timedelta(days=900), roll_out=False).version == 7
    assert len(webhook) == 1


def test_a_persons_word_during_a_training_is_not_taken_for_its_end(flows: Flows, monkeypatch) -> None:
    real = retraining.start

    def interrupted(flow: str, **parameters: Any) -> Any:
        retraining.go(FlowSettings(), "it looks well")
        return real(flow, **parameters)

    monkeypatch.setattr(retraining, "start", interrupted)
    retrain("drift in purpose", UNTIL, roll_out=False)
    trained, word = log_of(FlowSettings()).read()
    assert (trained.outcome, trained.version, trained.until) == (Outcome.REGISTERED, flows.version, UNTIL)
    assert (word.outcome, word.reason) == (Outcome.FORGIVEN, "by hand: it looks well")
    assert retraining.last_training([trained, word]) == trained


def test_a_training_that_was_killed_has_failed_and_counts(flows: Flows, webhook: list[str]) -> None:
    log = log_of(FlowSettings())
    for month in range(3):
        log.begin(UNTIL + pd.Timedelta(days=30 * month), "drift")
        if month < 2:
            log.end(Outcome.REFUSED, None, "not better")
    done = retrain("drift in purpose", UNTIL + pd.Timedelta(days=100), roll_out=True)
    assert log.read()[-1].outcome is Outcome.FAILED
    assert not flows.started and "the last 3 trainings brought nothing" in done.conclusion
    assert len(webhook) == 1 and "the last one: it was killed" in webhook[0]


def test_versions_that_lose_their_traffic_again_count_as_nothing(flows: Flows, webhook: list[str]) -> None:
    flows.promotes = False
    for month in range(4):
        retrain("drift in purpose", UNTIL + pd.Timedelta(days=300 * month), roll_out=True)
    assert [flow for flow, _ in flows.started] == ["train", "rollout"] * 3
    assert len(webhook) == 1 and "the last one: slower" in webhook[0]


def test_a_version_that_waits_is_rolled_out_instead_of_training(flows: Flows) -> None:
    flows.waiting = 4
    done = retrain("drift in purpose", UNTIL, roll_out=False)
    assert done.conclusion == "drift in purpose, but version 4 waits for its rollout"
    assert not flows.started
    done = retrain("drift in purpose", UNTIL, roll_out=True)
    assert flows.started == [("rollout", {"version": 4})] and "version 4 was promoted" in done.conclusion
    retraining.stop(FlowSettings(), "holidays")
    assert "is stopped" in retrain("drift in purpose", UNTIL, roll_out=True).conclusion
    assert len(flows.started) == 1


def test_two_at_once_are_one(flows: Flows) -> None:
    home = FlowSettings().home
    home.mkdir(parents=True)
    with (home / ".retraining.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = retrain("drift in purpose", UNTIL, roll_out=False)
    assert done.version is None and "another retraining is running" in done.conclusion
    assert not flows.started


def test_the_command_stops_and_lets_go_on(flows: Flows) -> None:
    def command(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flows", "retraining", *arguments],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert "stopped: holidays" in command("--stop", "holidays")
    assert "is stopped (holidays)" in retrain("drift in purpose", UNTIL, roll_out=False).conclusion
    assert "forgiven: by hand" in command("--go")
    assert retrain("drift in purpose", UNTIL, roll_out=False).version == 2
    assert "until 2026-05-01  registered, version 2: drift in purpose" in command()


def test_a_version_that_a_person_takes_back_has_brought_nothing(
    flows: Flows, webhook: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENTALS_RETRAIN_PATIENCE", "1")
    flows.version = 7
    retraining.retrain("by hand: a hunch", UNTIL, roll_out=False)
    settings = FlowSettings()

    retraining.lost(6, "by hand: worse", settings)
    assert log_of(settings).read()[-1].outcome is Outcome.REGISTERED, "it is another version's"
    for _ in range(2):
        retraining.lost(7, "by hand: worse", settings)

    last = log_of(settings).read()[-1]
    assert (last.reason, last.outcome, last.detail) == (
        "by hand: a hunch",
        Outcome.ROLLED_BACK,
        "by hand: worse",
    )
    assert len(webhook) == 1, "whoever is told twice is called once"


def test_a_refresh_is_no_training_and_is_rolled_out(flows: Flows) -> None:
    done = retraining.refresh("9% are of newer rentals", UNTIL, roll_out=True)
    assert flows.started == [
        ("refresh", {"until": f"{UNTIL:%Y-%m-%d}", "reason": "9% are of newer rentals"}),
        ("rollout", {"version": 2}),
    ]
    assert done.version == 2 and "refreshed; version 2 was promoted" in done.conclusion
    assert not log_of(FlowSettings()).read()
    flows.version = None
    assert retraining.refresh("9%", UNTIL, roll_out=True).version is None
    assert len(flows.started) == 3, "what is not there is not rolled out"


def test_a_refresh_waits_for_a_version_and_obeys_a_stop(flows: Flows) -> None:
    flows.waiting = 4
    done = retraining.refresh("9%", UNTIL, roll_out=True)
    assert "but version 4 waits for its rollout" in done.conclusion and done.version is None
    retraining.stop(FlowSettings(), "holidays")
    assert "the loop is stopped (holidays)" in retraining.refresh("9%", UNTIL, roll_out=True).conclusion
    assert not flows.started
