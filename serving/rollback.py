"""A person takes a version back, from any process and at any time.

A running rollout is asked, and takes its canary back itself. Where none runs, the canary that a killed one
has left behind, or else the last promotion, is taken back here. Either way the decision is written down
before it is acted upon.
"""

import time
from dataclasses import dataclass

from serving.backend import Backend
from serving.decision_log import Action, DecisionLog
from serving.rollback_request import ask, by_hand, withdraw
from serving.rollout import RolloutRunningError, backend_of, exclusive
from serving.seldon import FULL_TRAFFIC
from serving.settings import ServingSettings


class RollbackError(RuntimeError):
    """Nothing was taken back; the message says why, and what else can be done."""


@dataclass(frozen=True)
class Rollback:
    """What is taken back, and what serves instead."""

    predictor: str
    """Predictor that loses its traffic."""

    share: int
    """Percent of the traffic that it has; 0 for a shadow, or for one that is still starting."""

    champion: str
    """Predictor that answers all users afterwards."""


def possible(settings: ServingSettings, backend: Backend | None = None) -> Rollback | None:
    """Return what a rollback would do now, None where there is nothing to take back."""
    deployment = (backend or backend_of(settings)).applied()
    if deployment is None:
        return None
    served = {one.name: one.traffic for one in deployment.spec.predictors}
    champion, decisions = deployment.live[0].name, DecisionLog(settings.decisions).read()
    last = decisions[-1] if decisions else None
    if last and last.champion == champion:
        starting = last.action is Action.START and is_running(settings)
        if last.canary in served or starting:
            return Rollback(last.canary, served.get(last.canary, 0), champion)
    promotions = [one for one in decisions if (one.canary, one.action) == (champion, Action.PROMOTE)]
    if len(deployment.live) == 1 and promotions:
        return Rollback(champion, FULL_TRAFFIC, promotions[-1].champion)
    return None


def is_running(settings: ServingSettings) -> bool:
    """Whether a rollout runs, in whatever process that writes the same decisions."""
    return DecisionLog(settings.decisions).is_held()


def rollback(
    settings: ServingSettings, why: str, predictor: str | None = None, backend: Backend | None = None
) -> Rollback:
    """Take the canary, or else the last promotion, back; when this returns, it gets no request any more.

    Args:
        settings: where and how is served.
        why: a person's reason; it is written into the log of decisions.
        predictor: what the person means; by default what `possible` says. Another one is refused, so that who
            sees an old page, or asks twice, takes nothing else back.
        backend: where the model is served; that of the settings by default.

    Raises:
        RollbackError: there is nothing to take back, something else is served than was meant, or the running
            rollout does not react.
        ManifestError: the model that is to serve instead is gone or damaged.
        NotAppliedError: it does not come up; what served before still does.
        RolloutDatabaseError: the decision cannot be written.
    """
    backend, log = backend or backend_of(settings), DecisionLog(settings.decisions)
    meant = _meant(predictor, settings, backend)
    deadline = time.monotonic() + settings.rollback_seconds
    try:
        while True:
            try:
                with exclusive(settings) as held:
                    return _act(meant, why, settings, backend, held)
            except RolloutRunningError:
                if time.monotonic() > deadline:
                    raise RollbackError(
                        f"the rollout that runs has not taken {meant.predictor} back within "
                        f"{settings.rollback_seconds:g} s: end its process, which takes it back as well"
                    ) from None
                ask(log, meant.predictor, why)
                time.sleep(settings.rollout_poll_seconds)
    finally:
        withdraw(log)


def _meant(predictor: str | None, settings: ServingSettings, backend: Backend) -> Rollback:
    now = possible(settings, backend)
    if now is None:
        raise RollbackError(
            "there is nothing to take back: no canary is served, and the champion was promoted over no other "
            "version; `python -m flows up --version N` serves another one"
        )
    if predictor not in (None, now.predictor):
        raise RollbackError(
            f"{predictor} cannot be taken back now, {now.predictor} can: look again at what is served"
        )
    return now


def _act(
    meant: Rollback, why: str, settings: ServingSettings, backend: Backend, log: DecisionLog
) -> Rollback:
    """Take it back unless the rollout has done so; what a rollout promoted meanwhile is taken back, too."""
    deployment = backend.applied()
    if deployment is None or meant.predictor not in [one.name for one in deployment.spec.predictors]:
        return meant
    now = _meant(meant.predictor, settings, backend)
    backend.check(now.champion)
    log.append(now.champion, now.predictor, now.share, Action.ROLLBACK, [by_hand(why)])
    # A shadow that others have set stays.
    shadows = {one.name: 0 for one in deployment.spec.predictors if one.shadow and one.name != now.predictor}
    backend.apply({now.champion: FULL_TRAFFIC} | shadows)
    return now
