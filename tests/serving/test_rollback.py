"""A person takes a version back; with real predictors it is tested in test_local_runtime.py."""

import threading
import time
from pathlib import Path

import pytest

from serving import runtime
from serving.__main__ import main
from serving.backend import LocalBackend
from serving.decision import Arm
from serving.decision_log import Action, DecisionLog
from serving.manifest import ManifestError, render, save
from serving.processes import is_locked
from serving.rollback import Rollback, RollbackError, is_running, possible, rollback
from serving.rollback_request import ask, asked
from serving.rollout import exclusive, rollout
from serving.settings import DecisionThresholds, ServingSettings

PATIENCE = 30
"""Seconds until something that must happen counts as not happening."""


@pytest.fixture
def settings(settings_of_either: ServingSettings) -> ServingSettings:
    return settings_of_either


@pytest.fixture
def served(settings: ServingSettings, monkeypatch: pytest.MonkeyPatch) -> ServingSettings:
    """Weights are written into the manifest, and nothing is started for them."""

    def apply(deployment: object, _: object) -> None:
        save(deployment, runtime.applied_path(settings))  # type: ignore[arg-type]

    monkeypatch.setattr(runtime, "apply", apply)
    monkeypatch.setattr(LocalBackend, "check", lambda *_: None)
    monkeypatch.setattr(LocalBackend, "requests", lambda *_: {"v3": 90, "v4": 10})
    return settings.model_copy(
        update={"rollout_poll_seconds": 0.01, "rollout_seconds": PATIENCE, "rollback_seconds": PATIENCE}
    )


def serve(settings: ServingSettings, weights: dict[str, int], shadow: str | None = None) -> None:
    save(render(weights, settings, shadow), runtime.applied_path(settings))


def weights(settings: ServingSettings) -> dict[str, int]:
    deployment = runtime.applied(settings)
    assert deployment is not None
    return {one.name: one.traffic for one in deployment.spec.predictors}


def decided(settings: ServingSettings, *entries: tuple[str, str, int, Action]) -> DecisionLog:
    log = DecisionLog(settings.decisions)
    for champion, canary, share, action in entries:
        log.append(champion, canary, share, action, ["a reason"])
    return log


def test_a_running_rollout_takes_its_canary_back_when_a_person_says_so(served: ServingSettings) -> None:
    serve(served, {"v3": 100})
    outcomes = []

    def roll() -> None:
        undecided = DecisionThresholds(minimum_requests=1000)
        outcomes.append(rollout(4, served, (50, 100), undecided, lambda *_: (Arm(1, 0), Arm(1, 0))))

    running = threading.Thread(target=roll)
    running.start()
    deadline = time.monotonic() + PATIENCE
    while (there := possible(served)) != Rollback("v4", 50, "v3"):
        assert time.monotonic() < deadline, there
        time.sleep(0.01)

    assert is_running(served)
    assert rollback(served, "a customer called", "v4") == Rollback("v4", 50, "v3")

    running.join()
    assert not outcomes[0].promoted and outcomes[0].reasons == ["by hand: a customer called"]
    assert outcomes[0].figures == {"canary_failed_answers": 0}
    assert weights(served) == {"v3": 100}
    last = DecisionLog(served.decisions).read()[-1]
    assert (last.canary, last.action, last.reasons) == ("v4", "rollback", ["by hand: a customer called"])
    assert not is_running(served)


def test_without_a_rollout_the_last_promotion_is_taken_back(served: ServingSettings) -> None:
    serve(served, {"v5": 100})
    log = decided(
        served,
        ("v3", "v4", 50, Action.PROMOTE),
        ("v4", "v5", 50, Action.PROMOTE),
        ("v5", "v6", 1, "rollback"),
    )

    assert rollback(served, "worse") == Rollback("v5", 100, "v4")
    assert weights(served) == {"v4": 100}
    assert log.read()[-1].reasons == ["by hand: worse"]
    # Its predecessor is a promotion as well.
    assert rollback(served, "worse still") == Rollback("v4", 100, "v3")
    assert weights(served) == {"v3": 100}
    with pytest.raises(RollbackError, match="promoted over no other version"):
        rollback(served, "and on")


@pytest.mark.parametrize("share", [0, 25])
def test_a_canary_that_a_killed_rollout_has_left_behind_is_taken_back(
    served: ServingSettings, share: int
) -> None:
    serve(served, {"v3": 75, "v4": 25} if share else {"v3": 100}, None if share else "v4")
    decided(served, ("v3", "v4", share, Action.START))

    assert rollback(served, "nobody runs it") == Rollback("v4", share, "v3")
    assert weights(served) == {"v3": 100}


def test_the_decision_is_written_before_it_is_acted_upon(
    served: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(served, {"v4": 100})
    log = decided(served, ("v3", "v4", 50, Action.PROMOTE))

    def killed(*_: object) -> None:
        assert log.read()[-1].action is Action.ROLLBACK
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runtime, "apply", killed)
        rollback(served, "worse")
    # Once more does what was not done.
    assert rollback(served, "worse") == Rollback("v4", 100, "v3")
    assert weights(served) == {"v3": 100}


def test_who_means_something_that_is_no_longer_served_takes_nothing_else_back(
    served: ServingSettings,
) -> None:
    serve(served, {"v4": 100})
    decided(served, ("v3", "v4", 50, Action.PROMOTE))

    with pytest.raises(RollbackError, match="v5 cannot be taken back now, v4 can"):
        rollback(served, "an old page", "v5")
    assert weights(served) == {"v4": 100}


def test_a_shadow_that_others_have_set_stays(served: ServingSettings) -> None:
    serve(served, {"v4": 100}, "v9")
    decided(served, ("v3", "v4", 50, Action.PROMOTE))

    rollback(served, "worse")

    assert weights(served) == {"v3": 100, "v9": 0}


def test_what_was_asked_of_an_earlier_rollout_does_not_end_the_next_one(served: ServingSettings) -> None:
    serve(served, {"v3": 100})
    ask(DecisionLog(served.decisions), "v4", "asked, and the asker was killed")

    better = DecisionThresholds(minimum_requests=10)
    assert rollout(4, served, (50, 100), better, lambda *_: (Arm(90, 0), Arm(10, 0))).promoted


def test_a_rollout_that_does_not_react_is_told(served: ServingSettings) -> None:
    serve(served, {"v3": 50, "v4": 50})
    decided(served, ("v3", "v4", 50, Action.START))
    hasty = served.model_copy(update={"rollback_seconds": 0.05})

    with exclusive(served), pytest.raises(RollbackError, match="has not taken v4 back within"):
        rollback(hasty, "now")
    assert weights(served) == {"v3": 50, "v4": 50}
    assert asked(DecisionLog(served.decisions), "v4") is None


def test_a_champion_without_its_model_is_told_before_anything_happens(settings: ServingSettings) -> None:
    serve(settings, {"v4": 100})
    log = decided(settings, ("v3", "v4", 50, Action.PROMOTE))

    with pytest.raises(ManifestError, match="holds no model"):
        rollback(settings, "worse")
    assert [one.action for one in log.read()] == [Action.PROMOTE]


def test_without_a_promotion_there_is_nothing_to_take_back(served: ServingSettings) -> None:
    assert possible(served) is None
    # An A/B test that somebody has set up by a manifest is no rollout.
    serve(served, {"v3": 50, "v4": 50})
    with pytest.raises(RollbackError, match="up --version N"):
        rollback(served, "why not")


def test_the_command_line_does_the_same(
    served: ServingSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENTALS_HOME", str(served.home))
    monkeypatch.setenv("RENTALS_DECISIONS_URL", served.decisions_url)
    serve(served, {"v4": 100})
    decided(served, ("v3", "v4", 50, Action.PROMOTE))

    assert main(["rollback", "--why", "worse"]) == 0
    assert capsys.readouterr().out == "v4 was taken back; v3 answers all users\n"
    assert main(["rollback", "--why", "worse"]) == 1
    assert "nothing to take back" in capsys.readouterr().err


def test_looking_at_a_lock_takes_none(settings: ServingSettings, tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "none")
    assert not is_running(settings)
    with exclusive(settings):
        assert is_running(settings)
    assert not is_running(settings)
