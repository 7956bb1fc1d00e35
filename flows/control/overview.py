"""All that a person must know now, with the verdict on top; a part that cannot be seen is part of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.control import reports, verdict
from flows.control.data_state import DataState
from flows.control.errors import STATUSES, UNREADABLE, NothingThereError, in_words
from flows.control.serving_state import serving_state
from flows.control.training_state import training_state
from flows.control.verdict import Finding, Level
from flows.settings import FlowSettings
from monitoring import traffic
from serving.settings import ServingSettings

FAILURE_MINUTES = 5
"""Answers of the last minutes tell whether a predictor fails now."""


def overview(
    settings: FlowSettings, serving_settings: ServingSettings, look_at_data: Callable[[], DataState]
) -> dict[str, Any]:
    """Return the verdict, what serves, and what was trained.

    Args:
        settings: of the home.
        serving_settings: of the same home.
        look_at_data: returns the state of the lake, of a moment ago at most.

    Returns:
        ``at``, ``verdict``, ``serving`` and ``training``; one of the last two is None where it cannot be
        seen, and the verdict says why.
    """
    findings: list[Finding] = []
    serving = training = None
    with _seen(findings, Level.RED, "what serves"):
        serving = serving_state(serving_settings)
        findings += verdict.of_serving(serving)
    with _seen(findings, Level.AMBER, "the answers"):
        since = datetime.now(UTC) - timedelta(minutes=FAILURE_MINUTES)
        minutes = traffic.by_minute(serving_settings.lake, since)
        findings += verdict.of_traffic(minutes, f"the last {FAILURE_MINUTES} minutes")
    with _seen(findings, Level.AMBER, "the trainings"):
        training = training_state(settings)
        findings += verdict.of_training(training)
    with _seen(findings, Level.AMBER, "the data"):
        findings += verdict.of_data(look_at_data())
    with _seen(findings, Level.AMBER, "the alarms"):
        findings += verdict.of_drift(reports.drift(settings.home), training.trainings if training else [])
    return {
        "at": datetime.now(UTC),
        "verdict": asdict(verdict.verdict(findings)),
        "serving": serving,
        "training": training,
    }


@contextmanager
def _seen(findings: list[Finding], level: Level, part: str) -> Iterator[None]:
    """Make what cannot be seen a finding; what is not there yet is none."""
    try:
        yield
    except NothingThereError:
        pass
    except tuple(STATUSES) as error:
        findings.append(Finding(level, str(error)))
    except UNREADABLE as error:
        findings.append(Finding(level, f"{part} cannot be seen: {in_words(error)}"))
