"""A rollout: gives a new version a growing share of the traffic, promotes it or takes it back."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise

from monitoring.batch_metrics import publish
from monitoring.settings import MonitoringSettings
from serving.arms import ArmReader
from serving.backend import Backend, ChangedByOthersError, LocalBackend, NotAppliedError
from serving.decision import Decision, Verdict, decide
from serving.decision_log import Action, DecisionLog, LoggedDecision
from serving.kubernetes import KubernetesBackend
from serving.rollback_request import asked, withdraw
from serving.rollout_database import RolloutDatabaseError
from serving.rollout_metrics import rollout_metrics
from serving.seldon import FULL_TRAFFIC, SeldonDeployment
from serving.settings import DecisionThresholds, ServingSettings
from serving.triton import predictor_name


class RolloutError(RuntimeError):
    """A rollout cannot begin; the message names the remedy. Nothing was changed."""


class RolloutRunningError(RolloutError):
    """Another rollout is running."""


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
    steps: Sequence[int] | None = None,
    thresholds: DecisionThresholds | None = None,
    arms: ArmReader | None = None,
    again: bool = False,
    backend: Backend | None = None,
) -> RolloutOutcome:
    """Roll a version of the model out and return how that ended.

    The first predictor of the applied manifest is the champion. Ctrl-C, SIGTERM and a person's word
    (``serving.rollback``) take the canary back. A rollout that was killed goes on where it was, by its last
    decision, when the same version is rolled out again; another version takes the place of a canary that was
    left behind.

    Args:
        version: its model repository is where the backend finds it (``serving.triton.write_repository``).
        settings: where and how is served.
        steps: growing percentages, the last one 100; those of the settings by default. At 0 the canary is a
            shadow, which gets a copy of the traffic and answers nobody.
        thresholds: when to promote and when to roll back.
        arms: what was seen of both predictors; what the backend sees by default.
        again: roll out a version that was rolled back before; one that was only late, or did not come up, can
            be tried again without it.
        backend: where the model is served; that of the settings by default.

    Raises:
        RolloutError: nothing is served, the version is the champion or was rolled back before, or another
            rollout is running.
        ChangedByOthersError: somebody else changed the weights meanwhile; they were left as they are.
        ManifestError: there is no model repository of the version, or its model is damaged.
        RolloutDatabaseError: a decision cannot be written. What is served stays as it is; the same command
            goes on with it.
    """
    steps = settings.rollout_steps if steps is None else steps
    _check_steps(steps)
    backend = backend or backend_of(settings)
    with exclusive(settings) as log, _interruptible():
        # A person who asked for the end of an earlier one, and was killed, does not mean this one.
        withdraw(log)
        return _Rollout(
            predictor_name(version),
            settings,
            log,
            (thresholds or DecisionThresholds()).of_steps(max(1, len(steps) - 1)),
            arms,
            backend,
            again,
        ).run(steps)


def backend_of(settings: ServingSettings) -> Backend:
    """Return the place where rollouts act, as the settings say."""
    return LocalBackend(settings) if settings.rollout_backend == "local" else KubernetesBackend(settings)


def ended(canary: str, settings: ServingSettings, again: bool = False) -> RolloutOutcome | None:
    """Return how the last rollout of ``canary`` ended where only that is left to be told, else None.

    A process that is killed after it has acted, and before it has told anybody, leaves such an end behind.

    Args:
        canary: its predictor.
        settings: where rollouts act.
        again: a rollback does not count, because it is to be tried again.
    """
    log, deployment = DecisionLog(settings.decisions), backend_of(settings).applied()
    served = {one.name: one.traffic for one in deployment.spec.predictors} if deployment else {}
    mine = [one for one in log.read() if one.canary == canary]
    last = mine[-1] if mine else None
    if last and last.action is Action.PROMOTE and served.get(canary) == FULL_TRAFFIC:
        promoted = True
    elif last and last.action is Action.ROLLBACK and canary not in served and not again:
        promoted = False
    else:
        return None
    return RolloutOutcome(
        promoted=promoted,
        version=canary.removeprefix("v"),
        champion=canary if promoted else last.champion,
        requested_share=last.share / FULL_TRAFFIC,
        measured_share=None,
        failed_answers=int(last.figures.get("canary_failed_answers", 0)),
        reasons=last.reasons,
        figures=last.figures,
    )


class _Rollout:
    def __init__(
        self,
        canary: str,
        settings: ServingSettings,
        log: DecisionLog,
        thresholds: DecisionThresholds,
        arms: ArmReader | None,
        backend: Backend,
        again: bool,
    ) -> None:
        deployment = backend.applied()
        if deployment is None:
            raise RolloutError("nothing is served: apply a manifest with the champion first")
        self._champion = deployment.live[0].name
        if canary == self._champion:
            raise RolloutError(f"{canary} is the champion already: name another version")
        backend.check(canary)
        self._backend, self._log = backend, log
        self._canary, self._settings, self._thresholds, self._arms = canary, settings, thresholds, arms
        self._monitoring = MonitoringSettings(home=settings.home)
        last, shadow = self._log.last(), deployment.shadow.name if deployment.shadow else None
        self._pending = self._unfinished(last, deployment)
        # A canary that a killed rollout has left behind as a shadow is nobody's.
        self._shadow = None if shadow == canary or (last and shadow == last.canary) else shadow
        against = self._log.rolled_back(canary)
        if against and not self._pending and not again:
            raise RolloutError(
                f"{canary} was rolled back at {against.at:%Y-%m-%d %H:%M} ({'; '.join(against.reasons)}): "
                "roll out another version, or say that this one is to be tried again (--again)"
            )
        self._share = self._pending.share if self._pending else None
        self._measured: float | None = None

    def _unfinished(self, last: LoggedDecision | None, deployment: SeldonDeployment) -> LoggedDecision | None:
        """The last decision, if it is of a rollout of this canary that was killed while both had traffic."""
        same = last and (last.champion, last.canary) == (self._champion, self._canary)
        return last if same and _share_of(self._canary, deployment) is not None else None

    def run(self, steps: Sequence[int]) -> RolloutOutcome:
        """Go through the steps that are left."""
        pending, decision = self._pending, Decision(Verdict.PROMOTE, ["no step asked for a comparison"], {})
        if pending and pending.action is not Action.START:
            verdict = Verdict.PROMOTE if pending.action is Action.PROMOTE else Verdict.ROLLBACK
            return self._act(Decision(verdict, pending.reasons, pending.figures), pending.action)
        try:
            for share in _left(steps, pending):
                try:
                    decision = self._judge(share)
                except NotAppliedError as failure:
                    return self._decide(Decision(Verdict.HOLD, [str(failure)], {}), Action.INTERRUPT)
                if decision.verdict is Verdict.ROLLBACK:
                    return self._decide(decision, Action.ROLLBACK)
                if decision.verdict is Verdict.HOLD:
                    return self._decide(decision, Action.INTERRUPT)
            return self._decide(decision, Action.PROMOTE)
        except (ChangedByOthersError, RolloutDatabaseError):
            raise
        except BaseException as error:
            if self._share is not None:
                cause = f"interrupted: {type(error).__name__}: {error}"
                self._decide(Decision(Verdict.ROLLBACK, [cause], {}), Action.INTERRUPT)
            raise

    def _judge(self, share: int) -> Decision:
        """Give the canary its share and wait for a verdict; HOLD says that there was none in time."""
        since = self._begin(share)
        self._apply({self._champion: FULL_TRAFFIC - share, self._canary: share})
        names = (self._champion, self._canary)
        before = self._backend.requests(names)
        arms = self._arms or self._backend.arms(share)
        # From here on: a slow start, or a night without a controller, is not the canary's fault.
        deadline = time.monotonic() + self._settings.rollout_seconds
        while True:
            late = time.monotonic() > deadline
            champion, canary = arms(*names, since)
            by_hand = asked(self._log, self._canary)
            decision = by_hand or decide(champion, canary, self._thresholds)
            if late and decision.verdict is Verdict.HOLD:
                why = f"not proven within {self._settings.rollout_seconds:g} s: {'; '.join(decision.reasons)}"
                decision = replace(decision, reasons=[why])
            if late or decision.verdict is not Verdict.HOLD:
                decision.figures["canary_failed_answers"] = canary.errors
                self._measured = _measured_share(before, self._backend.requests(names), *names)
                return decision
            time.sleep(self._settings.rollout_poll_seconds)

    def _begin(self, share: int) -> datetime:
        """Write the step down, or take up the one that was killed; return the time from which it counts."""
        self._share, pending, self._pending = share, self._pending, None
        deployment = self._backend.applied()
        if pending and deployment and _share_of(self._canary, deployment) == pending.share == share:
            return pending.at
        self._record(Action.START, Decision(Verdict.HOLD, [f"{share} % of the traffic"], {}))
        return datetime.now(UTC)

    def _decide(self, decision: Decision, action: Action) -> RolloutOutcome:
        self._record(action, decision)
        return self._act(decision, action)

    def _act(self, decision: Decision, action: Action) -> RolloutOutcome:
        winner = self._canary if action is Action.PROMOTE else self._champion
        self._apply({winner: FULL_TRAFFIC})
        return RolloutOutcome(
            promoted=winner == self._canary,
            version=self._canary.removeprefix("v"),
            champion=winner,
            requested_share=self._share / FULL_TRAFFIC if self._share else None,
            measured_share=self._measured,
            failed_answers=int(decision.figures.get("canary_failed_answers", 0)),
            reasons=decision.reasons,
            figures=decision.figures,
        )

    def _apply(self, weights: dict[str, int]) -> None:
        """Put the weights in force; a shadow that others have set stays, but while the canary is one."""
        others = {self._shadow: 0} if self._shadow and 0 not in weights.values() else {}
        self._backend.apply(weights | others)

    def _record(self, action: Action, decision: Decision) -> None:
        self._log.append(
            self._champion, self._canary, self._share or 0, action, decision.reasons, decision.figures
        )
        publish("rollout", rollout_metrics(self._log.read()), self._monitoring)


def _left(steps: Sequence[int], pending: LoggedDecision | None) -> list[int]:
    """The steps to judge; a step that was killed is judged even where the steps are others now."""
    if pending is None:
        return list(steps[:-1])
    return [pending.share, *(share for share in steps[:-1] if share > pending.share)]


def _share_of(canary: str, deployment: SeldonDeployment) -> int | None:
    """The canary's percent of the traffic, 0 for a shadow, None where it is not served."""
    return {one.name: one.traffic for one in deployment.spec.predictors}.get(canary)


def _measured_share(
    before: Mapping[str, int], after: Mapping[str, int], champion: str, canary: str
) -> float | None:
    counted = {name: after[name] - before[name] for name in (champion, canary)}
    total = sum(counted.values())
    return counted[canary] / total if total else None


def _check_steps(steps: Sequence[int]) -> None:
    growing = all(low < high for low, high in pairwise(steps))
    if not steps or not growing or steps[0] < 0 or steps[-1] != FULL_TRAFFIC:
        raise RolloutError(
            f"steps {tuple(steps)} must grow from 0 or more to {FULL_TRAFFIC}, such as (10, 100)"
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
def exclusive(settings: ServingSettings) -> Iterator[DecisionLog]:
    """Let no other process change who gets which share meanwhile, and give the log by which this one may.

    Raises:
        RolloutRunningError: another one does.
        RolloutDatabaseError: the log does not answer.
    """
    log = DecisionLog(settings.decisions)
    with log.hold() as held:
        if not held:
            raise RolloutRunningError("another rollout is running: wait until it has ended")
        yield log
