"""A rollout that is killed at any moment goes on where it was.

The runtime is stood in for, so that every moment can be tried; test_local_runtime.py has the real one.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest

from serving import rollout, runtime
from serving.backend import LocalBackend
from serving.decision import Arm
from serving.decision_log import Action, DecisionLog, LoggedDecision
from serving.manifest import render, save
from serving.rollout_database import RolloutDatabaseError
from serving.settings import DecisionThresholds, ServingSettings

STEPS = (0, 10, 50, 100)
MOMENTS = 12
"""More than what a rollout of these steps writes and applies."""


class Killed(BaseException):
    """Stands for kill -9: nothing that the rollout does afterwards has an effect."""


class World:
    """The applied weights and the decisions; it dies before the operation ``dies_at``."""

    def __init__(self, settings: ServingSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings, self.dies_at, self._operations = settings, MOMENTS + 1, count()
        self.log = DecisionLog(settings.decisions)
        self.history: list[tuple[str, object]] = []
        append = DecisionLog.append

        def write(log: DecisionLog, *entry: object) -> None:
            self._live()
            append(log, *entry)  # type: ignore[arg-type]
            self.history.append(("decided", entry[3]))

        def apply(deployment: object, _: object) -> None:
            self._live()
            save(deployment, runtime.applied_path(settings))  # type: ignore[arg-type]
            self.history.append(("applied", self.weights))

        monkeypatch.setattr(DecisionLog, "append", write)
        monkeypatch.setattr(runtime, "apply", apply)
        monkeypatch.setattr(LocalBackend, "check", lambda *_: None)
        monkeypatch.setattr(LocalBackend, "requests", lambda *_: {"v3": 0, "v4": 0, "v5": 0})
        save(render({"v3": 100}, settings), runtime.applied_path(settings))

    def _live(self) -> None:
        if next(self._operations) >= self.dies_at:
            raise Killed

    @property
    def weights(self) -> dict[str, int]:
        deployment = runtime.applied(self.settings)
        assert deployment is not None
        return {one.name: one.traffic for one in deployment.spec.predictors}

    def run(self, worse_at: int | None, dies_at: int = MOMENTS + 1) -> rollout.RolloutOutcome:
        """Roll version 4 out; it fails at the step ``worse_at``."""
        self.dies_at, self._operations = dies_at, count()
        thresholds = DecisionThresholds(minimum_requests=100)

        def arms(*_: object) -> tuple[Arm, Arm]:
            failed = self.weights["v4"] == worse_at
            return Arm(900, 0), Arm(100, 100 if failed else 0)

        return rollout.rollout(4, self.settings, STEPS, thresholds, arms)


@pytest.fixture
def settings(settings_of_either: ServingSettings) -> ServingSettings:
    return settings_of_either


@pytest.fixture
def world(settings: ServingSettings, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(settings, monkeypatch)


@pytest.mark.parametrize("worse_at", [None, 0, 10, 50])
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_whenever_it_is_killed_it_ends_as_it_would_have(
    world: World, moment: int, worse_at: int | None
) -> None:
    try:
        world.run(worse_at, dies_at=moment)
    except Killed:
        taken_back = world.log.rolled_back("v4") and "v4" not in world.weights
        if taken_back:
            with pytest.raises(
                rollout.RolloutError, match=r"v4 was rolled back at .*100.0% of answers failed"
            ):
                world.run(worse_at)
        elif world.weights == {"v4": 100}:
            with pytest.raises(rollout.RolloutError, match="v4 is the champion already"):
                world.run(worse_at)
        else:
            assert world.run(worse_at).promoted is (worse_at is None)

    assert world.weights == ({"v4": 100} if worse_at is None else {"v3": 100})
    actions = [what for kind, what in world.history if kind == "decided"]
    assert actions.count(Action.START) <= len(STEPS)
    # Nothing is done before it is written down, and a canary that was rolled back never gets traffic again.
    for place, (kind, what) in enumerate(world.history):
        before = [earlier for earlier_kind, earlier in world.history[:place] if earlier_kind == "decided"]
        if kind == "applied":
            assert before
            assert "v4" not in what or Action.ROLLBACK not in before  # type: ignore[operator]


def test_a_killed_step_is_judged_from_its_beginning(world: World) -> None:
    since = []

    def waiting(*arguments: object) -> tuple[Arm, Arm]:
        since.append(arguments[2])
        if len(since) == 1:
            world.dies_at = 0
            raise Killed
        return Arm(900, 0), Arm(100, 0)

    thresholds = DecisionThresholds(minimum_requests=100)
    with pytest.raises(Killed):
        rollout.rollout(4, world.settings, (10, 100), thresholds, waiting)
    world.dies_at = MOMENTS + 1
    rollout.rollout(4, world.settings, (10, 100), thresholds, waiting)

    started = world.log.read()[0]
    assert abs((since[0] - started.at).total_seconds()) < 1
    assert since[1] == started.at


def test_a_killed_step_is_judged_though_the_steps_are_others_now(world: World) -> None:
    thresholds = DecisionThresholds(minimum_requests=100)
    with pytest.raises(Killed):
        world.run(worse_at=None, dies_at=6)
    assert world.weights == {"v3": 50, "v4": 50}
    world.dies_at = MOMENTS + 1

    outcome = rollout.rollout(
        4, world.settings, (10, 100), thresholds, lambda *_: (Arm(900, 0), Arm(100, 100))
    )

    assert not outcome.promoted and world.weights == {"v3": 100}


def test_a_canary_that_was_only_late_can_be_tried_again(world: World) -> None:
    hasty = world.settings.model_copy(update={"rollout_seconds": 0.05, "rollout_poll_seconds": 0.01})
    outcome = rollout.rollout(4, hasty, STEPS, arms=lambda *_: (Arm(1, 0), Arm(1, 0)))

    assert not outcome.promoted and "not proven within 0.05 s" in outcome.reasons[0]
    assert world.weights == {"v3": 100}
    assert world.run(worse_at=None).promoted


def test_a_night_without_a_controller_is_not_the_canarys_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed):
        world.run(worse_at=None, dies_at=2)
    world.dies_at = MOMENTS + 1
    started = world.log.read()[-1]
    yesterday = LoggedDecision(**(vars(started) | {"at": started.at - timedelta(days=1)}))
    monkeypatch.setattr(DecisionLog, "last", lambda _: yesterday)
    looks = iter([(Arm(1, 0), Arm(1, 0))])
    thresholds = DecisionThresholds(minimum_requests=100)
    fast = world.settings.model_copy(update={"rollout_seconds": 600, "rollout_poll_seconds": 0.01})

    outcome = rollout.rollout(4, fast, STEPS, thresholds, lambda *_: next(looks, (Arm(900, 0), Arm(100, 0))))

    assert outcome.promoted


def test_a_rollout_whose_database_went_away_leaves_all_as_it_was_and_goes_on_when_run_again(
    tmp_path: Path, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its lock it may not act, not even to take the canary back: another rollout may have begun."""
    settings = ServingSettings(home=tmp_path / "home", decisions_url=new_database())
    world = World(settings, monkeypatch)

    def arms(*_: object) -> tuple[Arm, Arm]:
        with psycopg.connect(settings.decisions_url, autocommit=True) as server:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        return Arm(900, 0), Arm(100, 0)

    thresholds = DecisionThresholds(minimum_requests=100)
    with pytest.raises(RolloutDatabaseError, match="RENTALS_DECISIONS_URL"):
        rollout.rollout(4, settings, (10, 100), thresholds, arms)

    assert world.weights == {"v3": 90, "v4": 10}
    assert world.run(worse_at=None).promoted


def test_a_shadow_set_by_hand_can_be_rolled_out(world: World) -> None:
    save(render({"v3": 100}, world.settings, "v4"), runtime.applied_path(world.settings))

    assert world.run(worse_at=None).promoted


def test_what_only_remains_to_be_told_is_told(world: World) -> None:
    assert rollout.ended("v4", world.settings) is None
    world.run(worse_at=50)
    told = rollout.ended("v4", world.settings)
    assert told is not None and not told.promoted and told.champion == "v3"
    assert "of answers failed" in told.reasons[0]
    assert rollout.ended("v4", world.settings, again=True) is None
    world.dies_at = 10 * MOMENTS
    thresholds = DecisionThresholds(minimum_requests=100)
    rollout.rollout(4, world.settings, STEPS, thresholds, lambda *_: (Arm(900, 0), Arm(100, 0)), again=True)
    told = rollout.ended("v4", world.settings)
    assert told is not None and told.promoted
    # All traffic by hand is no promotion.
    save(render({"v5": 100}, world.settings), runtime.applied_path(world.settings))
    assert rollout.ended("v5", world.settings) is None


def test_a_rolled_back_version_can_be_tried_again_on_demand(world: World) -> None:
    assert not world.run(worse_at=10).promoted
    with pytest.raises(rollout.RolloutError, match="was rolled back"):
        world.run(worse_at=None)
    thresholds = DecisionThresholds(minimum_requests=100)
    good = rollout.rollout(
        4, world.settings, STEPS, thresholds, lambda *_: (Arm(900, 0), Arm(100, 0)), again=True
    )
    assert good.promoted


def test_a_rollout_that_a_person_stopped_can_begin_anew(world: World) -> None:
    def stopped(*_: object) -> tuple[Arm, Arm]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rollout.rollout(4, world.settings, STEPS, arms=stopped)
    assert world.weights == {"v3": 100}
    assert world.log.read()[-1].action is Action.INTERRUPT
    assert world.run(worse_at=None).promoted


def test_another_version_takes_the_place_of_a_canary_that_was_left_behind(world: World) -> None:
    with pytest.raises(Killed):
        world.run(worse_at=None, dies_at=2)
    assert world.weights == {"v3": 100, "v4": 0}
    world.dies_at = MOMENTS + 1
    thresholds = DecisionThresholds(minimum_requests=100)
    outcome = rollout.rollout(5, world.settings, (100,), thresholds, lambda *_: (Arm(900, 0), Arm(100, 0)))
    assert outcome.promoted and world.weights == {"v5": 100}
