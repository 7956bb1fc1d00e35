"""Is the champion still right: `python flows/monitor.py run [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, resources, step

from flows.cluster import pod, pods, scheduled
from flows.settings import ClusterSettings


@pods
@scheduled(ClusterSettings().monitor_cron)
class MonitorFlow(FlowSpec):
    """Compare what came after the champion's training with what it was trained on.

    1. start: the drift statistics; the card shows what moved.
    2. act: drift starts the training on all data up to now, and its rollout, if nothing speaks against it.
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
        from flows.cards import drift_card
        from flows.monitoring_period import drift, periods
        from flows.parameters import day
        from models.registry import Registry
        from monitoring.report import drift_chart

        champion = Registry().champion()
        border = pd.Timestamp(champion.lineage["trained_until"], tz="UTC")
        settings = FeatureSettings()
        until = day(self.until, "until") or history.as_of(settings)
        self.last_day = until
        compared = periods(settings, border, until)
        self.report = drift(compared)
        metrics.drift(self.report)
        print(self.report.to_text())
        chart = drift_chart(self.report, compared.reference, compared.current)
        current.card.extend(drift_card(self.report, str(compared), chart))
        self.next(self.act)

    @pod(again=False)
    @step
    def act(self):
        """Start the training where something moved."""
        from flows.retraining import retrain

        self.new_version, self.gate, self.conclusion = None, "", "no drift: nothing to do"
        if self.report.drifted:
            done = retrain(self.report.drifted, self.last_day, self.rollout)
            self.new_version, self.gate, self.conclusion = done.version, done.gate, done.conclusion
        self.next(self.end)

    @step
    def end(self):
        """Say what happened."""
        print(self.conclusion)


if __name__ == "__main__":
    MonitorFlow()
