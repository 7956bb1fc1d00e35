"""Is the champion still right: `python flows/monitor.py run [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, resources, step

from flows.cluster import pod, pods, scheduled
from flows.settings import ClusterSettings


@pods
@scheduled(ClusterSettings().monitor_cron)
class MonitorFlow(FlowSpec):
    """Judge the champion by what became of its answers, and by what has moved since its training.

    1. start: performance from the log, drift of what is served and of new ratings; the card shows them. While
       there is no champion, or nothing new, it says so and the run ends well.
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
        from metaflow.cards import Markdown

        from feature_repo.settings import FeatureSettings
        from flows import metrics
        from flows.alarms import drift_file, try_look, write_drift
        from flows.cards import drift_card
        from flows.parameters import day
        from flows.performance_card import performance_card
        from models.registry import CHAMPION, Registry
        from monitoring.report import drift_chart
        from monitoring.settings import MonitoringSettings

        champion, monitoring = Registry().alias(CHAMPION), MonitoringSettings()
        found, nothing = try_look(champion, day(self.until, "until"), FeatureSettings(), monitoring)
        self.reasons, self.outdated, self.report = [], None, None
        self.conclusion = nothing or "no alarm: nothing to do"
        if found:
            print(found)
            write_drift(drift_file(monitoring.home), found)
            metrics.drift(found.report)
            metrics.performance(found.performance.watched)
            self.report, self.performance, self.served = found.report, found.performance, found.served
            self.last_day, self.reasons, self.outdated = found.until, found.alarms, found.outdated
            chart = drift_chart(found.report, found.compared.reference, found.compared.current)
            current.card.extend(drift_card(found.report, str(found.compared), chart))
            rmse = champion.metrics.get("rmse")
            current.card.extend(performance_card(found.performance, found.served, rmse))
        else:
            current.card.append(Markdown(nothing))
        self.next(self.act)

    @pod(again=False)
    @step
    def act(self):
        """Train, or refresh the catalogue, where there is a reason."""
        from flows.retraining import refresh, retrain

        self.new_version, self.gate = None, ""
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
