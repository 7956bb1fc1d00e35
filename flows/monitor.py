"""Is the champion still right: `python flows/monitor.py run [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, step


class MonitorFlow(FlowSpec):
    """Compare what came after the champion's training with what it was trained on.

    1. start: the drift statistics; the card shows what moved.
    2. act: drift starts the training flow on all data up to now.
    3. end: say what happened.
    """

    until = Parameter("until", default="", help="day before which ratings count; empty: as the features")

    @card(type="blank")
    @step
    def start(self):
        """Compare the periods."""
        import pandas as pd

        from feature_repo import history
        from feature_repo.settings import FeatureSettings
        from flows.cards import drift_card
        from flows.monitoring_period import drift, periods
        from flows.parameters import day
        from models.registry import Registry
        from monitoring.report import drift_chart

        champion = Registry().champion()
        border = pd.Timestamp(champion.lineage["trained_until"], tz="UTC")
        settings = FeatureSettings()
        until = day(self.until, "until") or history.as_of(settings)
        compared = periods(settings, border, until)
        self.report = drift(compared)
        print(self.report.to_text())
        chart = drift_chart(self.report, compared.reference, compared.current)
        current.card.extend(drift_card(self.report, str(compared), chart))
        self.next(self.act)

    @step
    def act(self):
        """Start the training where something moved."""
        from flows.runs import start

        self.new_version = self.gate = None
        if self.report.drifted:
            reason = f"drift in {', '.join(self.report.drifted)}"
            trained = start("train", until=self.until, reason=reason).data
            self.new_version, self.gate = trained.version, str(trained.gated.decision)
        self.next(self.end)

    @step
    def end(self):
        """Say what happened."""
        drifted = f"drift in {', '.join(self.report.drifted)}"
        if self.new_version:
            self.conclusion = f"{drifted}: trained version {self.new_version}"
        elif self.gate:
            self.conclusion = f"{drifted}: trained again, but there is no new version, the gate {self.gate}"
        else:
            self.conclusion = "no drift: nothing to do"
        print(self.conclusion)


if __name__ == "__main__":
    MonitorFlow()
