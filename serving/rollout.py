"""A rollout: gives a new version a growing share of the traffic, promotes it or takes it back."""

import fcntl
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from serving import components, runtime
from serving.arms import ArmReader, prediction_log_reader
from serving.components import RuntimeState
from serving.decision import Decision, Verdict, decide
from serving.decision_log import DecisionLog
from serving.gateway import PredictorStats
from serving.manifest import render
from serving.seldon import FULL_TRAFFIC
from serving.settings import DecisionThresholds, ServingSettings
from serving.triton import predictor_name

DEFAULT_STEPS = (10, FULL_TRAFFIC)
"""Percent of the traffic at each step; the last one is the promotion."""


class RolloutError(RuntimeError):
    """A rollout cannot begin; the message names the remedy. Nothing was changed."""


@dataclass(frozen=True)
class RolloutOutcome:
    """How a rollout ended."""

    promoted: bool
    version: str
    champion: str
    """Predictor that answers all users now."""

    requested_share: float | None
    """Share of the traffic that the canary should have had in the last judged step."""

    measured_share: float | None
    """Share that it had, counted by Envoy on the weighted route; None where nothing was counted."""

    failed_answers: int
    """Answers of the canary that could not be shown; users got another predictor's instead."""

    reasons: list[str]
    figures: dict[str, float] = field(default_factory=dict)


def rollout(
    version: int | str,
    settings: ServingSettings,
    steps: Sequence[int] = DEFAULT_STEPS,
    thresholds: DecisionThresholds | None = None,
    arms: ArmReader | None = None,
) -> RolloutOutcome:
    """Roll a version of the model out and return how that ended.

    The first predictor of the applied manifest is the champion. A canary that an interrupted rollout has left
    behind is replaced. Whatever interrupts this one takes its canary back.

    Args:
        version: its model repository exists (``serving.triton.write_repository``).
        settings: where and how is served.
        steps: growing percentages, the last one 100.
        thresholds: when to promote and when to roll back.
        arms: what was seen of both predictors; out of the prediction log by default.

    Raises:
        RolloutError: nothing is served, the version is the champion, or another rollout is running.
        ManifestError: there is no model repository of the version, or its model is damaged.
    """
    _check_steps(steps)
    with _exclusive(settings), _interruptible():
        return _Rollout(
            predictor_name(version),
            settings,
            (thresholds or DecisionThresholds()).of_steps(max(1, len(steps) - 1)),
            arms or prediction_log_reader(settings),
        ).run(steps)


class _Rollout:
    def __init__(
        self, canary: str, settings: ServingSettings, thresholds: DecisionThresholds, arms: ArmReader
    ) -> None:
        deployment = runtime.applied(settings)
        if deployment is None:
            raise RolloutError("nothing is served: apply a manifest with the champion first")
        self._champion = deployment.live[0].name
        if canary == self._champion:
            raise RolloutError(f"{canary} is the champion already: name another version")
        components.check_served(render({canary: FULL_TRAFFIC}, settings), settings)
        shadow = deployment.shadow.name if deployment.shadow else None
        self._shadow = None if shadow == canary else shadow
        self._canary, self._settings, self._thresholds, self._arms = canary, settings, thresholds, arms
        self._log = DecisionLog(settings.run / "decisions.db")
        self._share = 0

    def run(self, steps: Sequence[int]) -> RolloutOutcome:
        decision = Decision(Verdict.PROMOTE, ["no step asked for a comparison"], {})
        measured = None
        try:
            for share in steps:
                if share == FULL_TRAFFIC:
                    break
                self._share = share
                self._record("start", share, Decision(Verdict.HOLD, [f"{share} % of the traffic"], {}))
                try:
                    state = self._apply({self._champion: FULL_TRAFFIC - share, self._canary: share})
                except runtime.RuntimeFailure as failure:
                    decision = Decision(Verdict.ROLLBACK, [str(failure)], {})
                    return self._take_back(decision, measured)
                decision, measured = self._judge(state)
                if decision.verdict is Verdict.ROLLBACK:
                    return self._take_back(decision, measured)
            self._record("promote", self._share, decision)
            self._apply({self._canary: FULL_TRAFFIC})
            return self._outcome(True, decision, measured)
        except BaseException as error:
            if self._share:
                cause = f"interrupted: {type(error).__name__}: {error}"
                self._take_back(Decision(Verdict.ROLLBACK, [cause], {}), measured)
            raise

    def _judge(self, state: RuntimeState) -> tuple[Decision, float | None]:
        """Wait until the canary has proven itself or has failed; late is failed."""
        since = datetime.now(UTC)
        gateway = runtime.open_gateway(state, self._settings)
        names = (self._champion, self._canary)
        before = gateway.stats(names)
        deadline = time.monotonic() + self._settings.rollout_seconds
        while True:
            champion, canary = self._arms(*names, since)
            decision = decide(champion, canary, self._thresholds)
            if decision.verdict is Verdict.HOLD and time.monotonic() > deadline:
                late = f"not proven within {self._settings.rollout_seconds:g} s: " + "; ".join(
                    decision.reasons
                )
                decision = Decision(Verdict.ROLLBACK, [late], decision.figures)
            if decision.verdict is not Verdict.HOLD:
                decision.figures["canary_failed_answers"] = canary.errors
                return decision, _measured_share(before, gateway.stats(names), *names)
            time.sleep(self._settings.rollout_poll_seconds)

    def _take_back(self, decision: Decision, measured: float | None) -> RolloutOutcome:
        self._record("rollback", self._share, decision)
        self._apply({self._champion: FULL_TRAFFIC})
        return self._outcome(False, decision, measured)

    def _apply(self, weights: Mapping[str, int]) -> RuntimeState:
        return runtime.apply(render(weights, self._settings, self._shadow), self._settings)

    def _record(self, action: str, share: int, decision: Decision) -> None:
        self._log.append(self._champion, self._canary, share, action, decision.reasons, decision.figures)

    def _outcome(self, promoted: bool, decision: Decision, measured: float | None) -> RolloutOutcome:
        return RolloutOutcome(
            promoted=promoted,
            version=self._canary.removeprefix("v"),
            champion=self._canary if promoted else self._champion,
            requested_share=self._share / FULL_TRAFFIC if self._share else None,
            measured_share=measured,
            failed_answers=int(decision.figures.get("canary_failed_answers", 0)),
            reasons=decision.reasons,
            figures=decision.figures,
        )


def _measured_share(
    before: Mapping[str, PredictorStats], after: Mapping[str, PredictorStats], champion: str, canary: str
) -> float | None:
    counted = {name: after[name].weighted - before[name].weighted for name in (champion, canary)}
    total = sum(counted.values())
    return counted[canary] / total if total else None


def _check_steps(steps: Sequence[int]) -> None:
    growing = all(low < high for low, high in pairwise(steps))
    if not steps or not growing or steps[0] < 1 or steps[-1] != FULL_TRAFFIC:
        raise RolloutError(
            f"steps {tuple(steps)} must grow from 1 or more to {FULL_TRAFFIC}, such as (10, 100)"
        )


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, by which schedulers end a flow, raise, as Ctrl-C does: then the canary is taken back."""
    # Python hands signals to its main thread alone, and lets no other one ask for them.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def _exclusive(settings: ServingSettings) -> Iterator[None]:
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / "rollout.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RolloutError("another rollout is running: wait until it has ended") from error
        yield
