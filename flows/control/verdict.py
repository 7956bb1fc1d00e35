"""Whether all is well, in words: what is wrong, how bad it is, and what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import pandas as pd

from flows.control.data_state import DataState
from flows.control.serving_state import ServingState
from flows.control.training_state import TrainingState
from flows.retraining_log import Outcome, Retraining

FAILING_SHARE = 0.05
"""Share of failed answers above which a predictor is failing, as a rollout has it."""

FEWEST_ANSWERS = 20
"""Answers below which a share of failures says nothing."""

QUARANTINE_SHARE = 0.01
"""Share of a table's rows in quarantine above which the source is looked into."""

STALE = timedelta(days=1)
"""Features that are further behind the data than this were forgotten."""


class Level(StrEnum):
    """How bad it is."""

    RED = "red"
    """Users are hit, or will be by the next fault: act now."""

    AMBER = "amber"
    """Nothing is broken, and something does not get better by itself: act today."""

    GREEN = "green"
    """Good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing to know."""

    level: Level
    what: str
    remedy: str = ""
    """What to do, where there is something to do."""


@dataclass(frozen=True)
class Verdict:
    """All of it."""

    level: Level
    """The worst one."""

    line: str
    """In a line."""

    findings: list[Finding]
    """The worst ones first."""


def verdict(findings: Sequence[Finding]) -> Verdict:
    """Sum findings up."""
    order = list(Level)
    worst_first = sorted(findings, key=lambda finding: order.index(finding.level))
    wrong = [finding for finding in worst_first if finding.level is not Level.GREEN]
    if not wrong:
        known = "; ".join(finding.what for finding in worst_first)
        return Verdict(Level.GREEN, f"All is well: {known}" if known else "All is well", worst_first)
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return Verdict(wrong[0].level, f"{_sentence(wrong[0].what)}{more}", worst_first)


def of_serving(state: ServingState) -> Iterator[Finding]:
    """What the runtime and the rollout say."""
    runtime = state.runtime
    if runtime.orphans:
        yield Finding(
            Level.RED,
            f"{len(runtime.orphans)} processes are left of a supervisor that died: nothing restarts them",
            "make down && make up",
        )
    if not runtime.running:
        yield Finding(Level.RED, "Nothing is served", "make up")
        return
    for component in runtime.components:
        if component.state not in ("RUNNING", "STARTING"):
            yield Finding(
                Level.RED,
                f"{component.name} does not run ({component.state.lower()})",
                f"read its log, .rentals/logs/{component.name}.log, then make down && make up",
            )
    live = [one for one in runtime.predictors if not one.shadow]
    for one in live:
        if not one.ready:
            hit = "nobody gets a recommendation of a model" if len(live) == 1 else "others answer for it"
            yield Finding(
                Level.RED,
                f"{one.name} ({one.weight} % of the users) is not ready: {hit}",
                "supervisord restarts it; where it stays so, roll back",
            )
    shares = ", ".join(f"{one.name} answers {one.weight} %" for one in live)
    if state.rollout_running and state.rollback:
        yield Finding(Level.GREEN, f"{state.rollback.predictor} is being rolled out: {shares}")
    elif len(runtime.predictors) > 1 and state.rollback:
        yield Finding(
            Level.AMBER,
            f"{state.rollback.predictor} was left behind by a rollout that was killed: {shares}",
            f"roll back, or roll it out again: python flows/rollout.py run --version "
            f"{state.rollback.predictor.removeprefix('v')}",
        )
    else:
        yield Finding(Level.GREEN, shares)


def of_traffic(minutes: pd.DataFrame, window: str) -> Iterator[Finding]:
    """What the answers say.

    Args:
        minutes: of ``monitoring.traffic.by_minute``.
        window: how long that was, in words.
    """
    for name in minutes["predictor"].unique():
        rows = minutes[minutes["predictor"] == name]
        requests, failed = int(rows["requests"].sum()), int(rows["failed"].sum())
        if requests >= FEWEST_ANSWERS and failed / requests > FAILING_SHARE:
            yield Finding(
                Level.RED,
                f"{name or 'the API'} failed {failed / requests:.0%} of {requests:,} answers of {window}",
                "roll back",
            )


def of_training(state: TrainingState) -> Iterator[Finding]:
    """What the loop says."""
    if state.stopped is not None:
        yield Finding(
            Level.AMBER, f"Retraining is paused: {state.stopped}", "resume, when the reason is gone"
        )
    if state.needs_person:
        yield Finding(
            Level.AMBER,
            f"The last {state.fruitless} trainings brought nothing, and nothing trains any more",
            "read why below; then resume, which forgives them",
        )
    elif state.trainings and state.trainings[0].outcome is Outcome.FAILED:
        yield Finding(
            Level.AMBER,
            f"The last training failed: {state.trainings[0].detail}",
            "read .rentals/logs and the run in Metaflow; a training that failed may be tried again at once",
        )
    if state.running:
        yield Finding(Level.GREEN, "a training or its rollout runs")
    elif state.waiting is not None:
        yield Finding(
            Level.AMBER,
            f"Version {state.waiting} passed the gate and waits for its rollout",
            f"python flows/rollout.py run --version {state.waiting}",
        )


def of_data(state: DataState) -> Iterator[Finding]:
    """What the lake says."""
    for fault in state.faults:
        yield Finding(Level.AMBER, fault)
    if state.data_until is not None and state.features_until is not None:
        behind = state.data_until - state.features_until
        if behind > STALE:
            yield Finding(Level.AMBER, f"Features are {behind.days} days behind the ratings", "make features")
    if state.missed:
        yield Finding(
            Level.AMBER, f"{state.missed:,} ratings landed late and are in no feature", "make features"
        )
    for one in state.quarantined:
        if one.share > QUARANTINE_SHARE:
            yield Finding(
                Level.AMBER,
                f"{one.share:.1%} of all {one.table} are in quarantine ({one.rows:,} rows)",
                "read the reasons below; after a fix, make replay-quarantine",
            )


def of_drift(report: Mapping[str, Any], trainings: Sequence[Retraining]) -> Iterator[Finding]:
    """What the last look of the monitoring flow says: of ratings, of what is served, of performance.

    Args:
        report: of ``reports.drift``.
        trainings: newest first.
    """
    if not report["alarms"]:
        return
    what = "; ".join(report["alarms"])
    after = [one for one in trainings if one.began_at >= report["at"]]
    if after and after[0].outcome in (Outcome.RUNNING, Outcome.REGISTERED):
        trained = f"version {after[0].version} was trained since" if after[0].version else "a training runs"
        yield Finding(Level.GREEN, f"{what}: {trained}")
    else:
        yield Finding(Level.AMBER, _sentence(what), "see below what moved; retrain if it will stay so")


def _sentence(what: str) -> str:
    """The rest keeps its capitals, which names have."""
    return what[0].upper() + what[1:]
