"""Is the champion still right: `python flows/monitor.py run [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, step


class MonitorFlow(FlowSpec):
    """Judge the champion by what became of its answers, and by what has moved since its training.

    1. start: performance from the log, drift of what is served and of new ratings; the card shows them.
    2. act: an alarm starts the training on all data up to now, and its rollout, if nothing speaks against it.
    3. end: say what happened.
    """

    until = Parameter("until", default="", help="day before which ratings count; empty: as the features")
    rollout = Parameter(
        "rollout", type=bool, default=False, help="roll out what the gate lets through; needs traffic"
    )

    @card(type="blank")
    @step
    def start(self):
        """Compare the periods."""
        import pandas as pd

        from feature_repo import history
        from feature_repo.settings import FeatureSettings
        from flows.alarms import alarms, write_drift
        from flows.cards import drift_card
        from flows.monitored_performance import measure, served_drift
        from flows.monitoring_period import drift, periods
        from flows.parameters import day
        from flows.performance_card import performance_card
        from models.registry import Registry
        from monitoring.report import drift_chart
        from monitoring.settings import MonitoringSettings

        champion, settings, monitoring = Registry().champion(), FeatureSettings(), MonitoringSettings()
        self.performance = measure(settings.lake, champion.version, pd.Timestamp.now("UTC"), monitoring)
        self.served = served_drift(settings.lake, champion.version, monitoring)
        print(f"{self.performance}\n{self.served}")
        border = pd.Timestamp(champion.lineage["trained_until"], tz="UTC")
        self.last_day = day(self.until, "until") or history.as_of(settings)
        compared = periods(settings, border, self.last_day)
        self.report = drift(compared)
        print(self.report.to_text())
        self.reasons = alarms(self.report, self.served, self.performance)
        write_drift(
            monitoring.home / "monitoring" / "drift.json", self.report, compared, self.served, self.reasons
        )
        chart = drift_chart(self.report, compared.reference, compared.current)
        current.card.extend(drift_card(self.report, str(compared), chart))
        current.card.extend(performance_card(self.performance, self.served, champion.metrics.get("rmse")))
        self.next(self.act)

    @step
    def act(self):
        """Start the training where there is an alarm."""
        from flows.retraining import retrain

        self.new_version, self.gate, self.conclusion = None, "", "no alarm: nothing to do"
        if self.reasons:
            done = retrain(self.reasons, self.last_day, self.rollout)
            self.new_version, self.gate, self.conclusion = done.version, done.gate, done.conclusion
        self.next(self.end)

    @step
    def end(self):
        """Say what happened."""
        print(self.conclusion)


if __name__ == "__main__":
    MonitorFlow()
