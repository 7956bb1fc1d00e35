"""Is the champion still right: `python flows/monitor.py run [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, resources, step

from flows.cluster import pod, pods, scheduled
from flows.settings import ClusterSettings


@pods
@scheduled(ClusterSettings().monitor_cron)
class MonitorFlow(FlowSpec):
    """Judge the champion by what became of its answers, and by what has moved since its training.

    1. start: performance from the log, drift of what is served and of new ratings; the card shows them.
    2. act: an alarm starts the training on all data up to now, and its rollout, if nothing speaks against it;
       a catalogue that lacks what people take is refreshed.
    3. end: say what happened.
    """

    until = Parameter("until", default="", help="day before which ratings count; empty: as the features")
    rollout = Parameter(
        "rollout", type=bool, default=False, help="roll out what the gate lets through; needs traffic"
    )

    @card(type="blank")
    @resources(cpu=2, memory=8192)
    @step
    def start(self):
        """Compare the periods."""
        import pandas as pd

        from feature_repo import history
        from feature_repo.settings import FeatureSettings
        from flows import metrics
        from flows.alarms import drift_file, look, write_drift
        from flows.cards import drift_card
        from flows.gating import catalogue_of
        from flows.parameters import day
        from flows.performance_card import performance_card
        from flows.refreshing import same_weights
        from models.registry import Registry
        from monitoring.report import drift_chart
        from monitoring.settings import MonitoringSettings

        champion, settings, monitoring = Registry().champion(), FeatureSettings(), MonitoringSettings()
        border = pd.Timestamp(champion.lineage["trained_until"], tz="UTC")
        self.last_day, now = day(self.until, "until") or history.as_of(settings), pd.Timestamp.now("UTC")
        found = look(
            same_weights(champion), border, catalogue_of(champion), self.last_day, now, settings, monitoring
        )
        print(found)
        write_drift(drift_file(monitoring.home), found)
        metrics.drift(found.report)
        metrics.performance(found.performance.watched)
        self.report, self.performance, self.served = found.report, found.performance, found.served
        self.reasons, self.outdated = found.alarms, found.outdated
        chart = drift_chart(found.report, found.compared.reference, found.compared.current)
        current.card.extend(drift_card(found.report, str(found.compared), chart))
        current.card.extend(performance_card(found.performance, found.served, champion.metrics.get("rmse")))
        self.next(self.act)

    @pod(again=False)
    @step
    def act(self):
        """Train, or refresh the catalogue, where there is a reason."""
        from flows.retraining import refresh, retrain

        self.new_version, self.gate, self.conclusion = None, "", "no alarm: nothing to do"
        done = []
        if self.reasons:
            done.append(retrain("; ".join(self.reasons), self.last_day, self.rollout))
        if self.outdated and not any(each.version for each in done):
            done.append(refresh(self.outdated, self.last_day, self.rollout))
        if done:
            self.new_version, self.gate = done[-1].version, done[0].gate
            self.conclusion = "; ".join(each.conclusion for each in done)
        self.next(self.end)

    @step
    def end(self):
        """Say what happened."""
        print(self.conclusion)


if __name__ == "__main__":
    MonitorFlow()
