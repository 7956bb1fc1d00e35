"""The loop as a policy: what monitoring, brake, gate and canary make of each month."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from feature_repo.settings import FeatureSettings
from flows.alarms import look
from flows.brake import fruitless, objection
from flows.gating import Rival, gate_beside
from flows.replaying.canary import run_canary, write_log
from flows.replaying.result import Training
from flows.replaying.stream import Stream
from flows.replaying.versions import Answers, Version
from flows.retraining_log import Outcome, Retraining
from flows.settings import FlowSettings
from monitoring.settings import MonitoringSettings

if TYPE_CHECKING:
    from models.served_scores import ServedScores


class Loop:
    """Goes through the months as the flows would: monitor, train, gate, rollout; it keeps their logs."""

    def __init__(
        self,
        stream: Stream,
        versions: Mapping[pd.Timestamp, Version],
        answers: Answers,
        settings: FeatureSettings,
    ) -> None:
        """Begin with the first version.

        Args:
            stream: events and catalogues.
            versions: what a training at each month's begin gives.
            answers: theirs.
            settings: where the lake with the stream's ratings is; its prediction log must be empty.
        """
        self._stream, self._versions, self._answers = stream, versions, answers
        self._settings = settings
        self._champion = versions[stream.months[0]]
        self._past: list[Retraining] = []

    def month(self, begin: pd.Timestamp) -> tuple["ServedScores", Version, Training | None]:
        """Return what people were shown in a month, the version that serves at its end, and its training."""
        events, _ = self._stream.month(begin)
        training = self._train(begin) if begin > self._stream.months[0] else None
        shown = self._answers.of(self._champion, begin, refreshed=True)
        if training is None or training.outcome is not Outcome.REGISTERED:
            write_log(
                events, shown, np.ones(len(events), bool), self._number(self._champion), self._settings.home
            )
            return shown, self._champion, training
        candidate = self._versions[begin]
        ended = run_canary(
            events,
            (self._number(self._champion), shown),
            (self._number(candidate), self._answers.of(candidate, begin, refreshed=True)),
            self._settings.home,
        )
        detail = f"{training.detail}; canary: {'; '.join(ended.decision.reasons)}"
        if ended.promoted:
            self._champion = candidate
            return ended.shown, candidate, replace(training, detail=detail, promoted_at=ended.at)
        self._past[-1] = replace(self._past[-1], outcome=Outcome.ROLLED_BACK)
        return ended.shown, self._champion, replace(training, outcome=Outcome.ROLLED_BACK, detail=detail)

    def _train(self, begin: pd.Timestamp) -> Training | None:
        """Look at what came since the champion's training; train and gate where something is wrong."""
        monitoring = MonitoringSettings(home=self._settings.home)
        champion, name = self._champion.until, str(self._number(self._champion))
        found = look([name], champion, begin, begin, begin, self._settings, monitoring)
        if not found.alarms:
            return None
        flow, now = FlowSettings(), begin.to_pydatetime()
        if fruitless(self._past) >= flow.retrain_patience:
            # The person who is called then looks at it, and lets the loop go on a month later.
            self._past.append(Retraining(now, begin, "by hand", Outcome.FORGIVEN, None, ""))
            return None
        if objection(begin, self._past, now, None, flow):
            return None
        return self._gated(begin, "; ".join(found.alarms), found.report.since)

    def _gated(self, begin: pd.Timestamp, reason: str, shift: pd.Timestamp | None) -> Training:
        from models.settings import GateSettings

        candidate, champion, data = self._versions[begin], self._champion, self._stream.known(begin)
        fitted_until = champion.until - pd.Timedelta(days=FlowSettings().test_days)
        # Its catalogue is refreshed as the candidate's would be: in that they do not differ.
        rival = Rival(self._number(champion), champion.model, fitted_until, data.test_from)
        decision = gate_beside(rival, candidate.model, data, GateSettings()).decision
        outcome = Outcome.REGISTERED if decision.passed else Outcome.REFUSED
        self._past.append(
            Retraining(begin.to_pydatetime(), begin, reason, outcome, self._number(candidate), str(decision))
        )
        return Training(begin, reason, candidate.seconds, outcome, f"gate {decision}", shift)

    def _number(self, version: Version) -> int:
        """Its number: versions are counted by the months at which they could be trained."""
        return int(self._stream.months.searchsorted(version.until, side="right"))
