"""Ratings into features: `python flows/features.py run --data FILE --until YYYY-MM-DD`."""

import flows  # noqa: F401  # isort: skip  (first: it configures Metaflow)
from metaflow import FlowSpec, Parameter, card, current, resources, retry, step

from flows.cluster import pod, pods, scheduled
from flows.settings import ClusterSettings


@pods
@scheduled(ClusterSettings().features_cron)
class FeaturesFlow(FlowSpec):
    """Land a period of ratings and bring its features online.

    1. start: read the source, validate it, write the lake and the quarantine.
    2. compute: the history of user and rental features, by Spark, and whether it is as it must be; the card
       shows that.
    3. materialize: if it is, register the definitions in Feast and bring the latest values online, and what
       is popular.
    4. end: say what there is.
    """

    data = Parameter(
        "data", default="", help="path of a source's file; empty for the generator or the lake's own"
    )
    since = Parameter(
        "since", default="", help="first day that arrives (YYYY-MM-DD); empty for the beginning"
    )
    until = Parameter("until", default="", help="day before which ratings arrive; empty for all there is")

    @resources(cpu=2, memory=8192)
    @step
    def start(self):
        """Ingest."""
        from feature_repo.settings import FeatureSettings
        from flows.ingest import ingest, is_wanted
        from flows.parameters import day

        settings = FeatureSettings()
        self.ingested = None
        if is_wanted(self.data, settings):
            self.ingested = ingest(self.data, day(self.since, "since"), day(self.until, "until"), settings)
            print(self.ingested, *self.ingested.findings, sep="\n")
        else:
            print("no --data: the features of what the lake holds are computed")
        self.next(self.compute)

    @pod(hours=6)
    @card(type="blank")
    @resources(cpu=4, memory=16384)
    @retry(times=1)
    @step
    def compute(self):
        """Compute the feature history and check it."""
        from feature_repo import history, lake
        from feature_repo.settings import FeatureSettings
        from flows.feature_quality import check, last_batches
        from flows.features_card import BATCHES_SHOWN, features_card
        from flows.parameters import day

        settings = FeatureSettings()
        self.as_of = day(self.until, "until") or lake.clock(settings.lake)
        print(f"computing user and rental features as of {self.as_of:%Y-%m-%d}")
        self.rows = history.compute(settings, self.as_of)
        print(f"feature rows {self.rows} as of {self.as_of:%Y-%m-%d}")
        self.quality = check(settings, self.as_of)
        current.card.extend(features_card(self.quality, self.ingested, last_batches(settings, BATCHES_SHOWN)))
        self.next(self.materialize)

    @resources(cpu=4, memory=16384)
    @retry(times=1)
    @step
    def materialize(self):
        """Bring the latest features online."""
        from feature_repo import store
        from feature_repo.settings import FeatureSettings
        from flows.popularity import write_popularity

        self.quality.require()
        settings = FeatureSettings()
        store.publish(settings, self.as_of)
        write_popularity(settings, self.as_of)
        self.next(self.end)

    @step
    def end(self):
        """Say what there is."""
        from flows import metrics

        metrics.features(self.as_of, self.rows)
        self.conclusion = f"features are online as of {self.as_of:%Y-%m-%d}"
        print(self.conclusion)


if __name__ == "__main__":
    FeaturesFlow()
