"""All policies on one stream: each serves the same people, and is scored by what they took and gave."""

import shutil
from collections.abc import Mapping

import pandas as pd

from feature_repo.settings import FeatureSettings
from flows.replaying.loop import Loop
from flows.replaying.policies import Policy
from flows.replaying.result import Month, Training, month_of
from flows.replaying.stream import Stream
from flows.replaying.versions import Answers, Version
from flows.retraining_log import Outcome
from monitoring.log_entries import SCHEMAS


def replay(
    stream: Stream, versions: Mapping[pd.Timestamp, Version], settings: FeatureSettings
) -> dict[Policy, list[Month]]:
    """Run all policies.

    Args:
        stream: events and catalogues; the first version is trained at the first month's begin.
        versions: what a training at each month's begin gives: a training is the same whoever asks for it.
        settings: where the stream's lake is; the loop's prediction log is written into it.
    """
    answers = Answers(stream)
    return {
        policy: _loop(stream, versions, answers, settings)
        if policy is Policy.LOOP
        else _by_calendar(policy, stream, versions, answers)
        for policy in Policy
    }


def _by_calendar(
    policy: Policy, stream: Stream, versions: Mapping[pd.Timestamp, Version], answers: Answers
) -> list[Month]:
    first = stream.months[0]
    serving, months = versions[first], []
    for begin in stream.months[:-1]:
        training = None
        if policy.scheduled(begin, first):
            serving = versions[begin]
            training = Training(
                begin, "the calendar", serving.seconds, Outcome.REGISTERED, "served at once", None, begin
            )
        events, _ = stream.month(begin)
        shown = answers.of(serving, begin, refreshed=policy is Policy.REFRESH)
        months.append(month_of(begin, serving.until, events, shown, training))
    return months


def _loop(
    stream: Stream, versions: Mapping[pd.Timestamp, Version], answers: Answers, settings: FeatureSettings
) -> list[Month]:
    for table in SCHEMAS:
        shutil.rmtree(settings.lake / table, ignore_errors=True)
    loop, months = Loop(stream, versions, answers, settings), []
    for begin in stream.months[:-1]:
        shown, serving, training = loop.month(begin)
        months.append(month_of(begin, serving.until, stream.month(begin)[0], shown, training))
        if training:
            print(f"{begin:%Y-%m}: {training.reason}; {training.outcome}: {training.detail}", flush=True)
    return months
