"""The champion with the catalogue of today: `python flows/refresh.py run [--until YYYY-MM-DD]`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, current, step

from flows.cluster import pod, pods, scheduled
from flows.parameters import BY_HAND
from flows.settings import ClusterSettings


@pods
@scheduled(ClusterSettings().refresh_cron)
class RefreshFlow(FlowSpec):
    """Export the champion's weights again, with the rentals and features of today: no training.

    1. start: the catalogue and the latest requests, through Feast.
    2. export: ONNX, checked as at the gate; a version with the champion's lineage, for the rollout.
    3. end: say which version it is, or why there is none.
    """

    until = Parameter("until", default="", help="day as of which the catalogue is; empty: as the features")
    reason = Parameter(
        "reason", default=BY_HAND, help="why the catalogue is refreshed; kept with the version"
    )

    @step
    def start(self):
        """Read the catalogue."""
        from feature_repo.settings import FeatureSettings
        from flows.parameters import day
        from flows.refreshing import inputs

        self.inputs = inputs(FeatureSettings(), day(self.until, "until"))
        self.next(self.export)

    @pod(again=False)
    @step
    def export(self):
        """Export and register."""
        from flows.refreshing import try_refresh

        run = f"RefreshFlow/{current.origin_run_id or current.run_id}"
        self.version, self.conclusion = try_refresh(self.inputs, run, self.reason)
        self.next(self.end)

    @step
    def end(self):
        """Say which version it is, or why there is none."""
        print(self.conclusion)


if __name__ == "__main__":
    RefreshFlow()
