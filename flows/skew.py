"""Were users served what training would see: logged features beside those recomputed as of each request."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from feature_repo.names import RECOMMENDER_REQUEST_FEATURES
from feature_repo.settings import FeatureSettings
from monitoring.settings import MonitoringSettings
from monitoring.skew import Sample, compare, same, sample
from monitoring.skew_report import SkewReport

WITHIN, SKEWED = 0, 1
"""Exit statuses of `python -m flows skew`; an error is another one."""

REQUEST_INPUTS = ("purpose", "size")
"""What a prediction logs beside features: they come with the request, so no store can serve them wrong."""

MATERIALIZATIONS_TRIED = 5
"""Differing requests are held against so many earlier states of the online store: a working week of them."""


@dataclass(frozen=True)
class Skew:
    """A finished comparison.

    ``behind`` counts the differing requests which were served exactly what was true as of an earlier
    materialization, by its day: the online store was behind the history, or the history was extended, after
    the request, by days before it.
    """

    report: SkewReport
    drawn: Sample
    behind: dict[str, int]
    threshold: float

    @property
    def skewed(self) -> list[str]:
        """Features of which more differs than the threshold allows, largest share first."""
        return self.report.above(self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON takes."""
        return {
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "threshold": self.threshold,
            "skewed": self.skewed,
            "logged_requests": self.drawn.logged,
            "requests_without_features": self.drawn.without_features,
            "behind": self.behind,
            **self.report.to_dict(),
        }

    def __str__(self) -> str:
        """The comparison in words."""
        drawn = self.drawn
        lines = [
            f"{len(drawn.requests):,} of {drawn.logged:,} logged requests, "
            f"by {drawn.requests['user_id'].nunique():,} users, recomputed as of their time",
            self.report.to_text(self.threshold),
        ]
        if drawn.without_features:
            lines.append(
                f"answered without features, the store being away or late, and not compared: "
                f"{drawn.without_features:,}"
            )
        for day, count in self.behind.items():
            lines.append(
                f"of the {self.report.differing_requests:,} requests that differ, {count:,} were served what "
                f"was true as of {day}: the online store was behind, or the history came later"
            )
        skewed, all_features = len(self.skewed), len(self.report.features)
        verdict = f"skew in {skewed} of {all_features} features" if skewed else "no skew"
        return "\n".join([*lines, f"{verdict}; {self.threshold:.1%} of a feature's values may differ"])


def measure(
    features: FeatureSettings, monitoring: MonitoringSettings, since: pd.Timestamp | None = None
) -> Skew:
    """Recompute the features of a sample of the logged requests and compare.

    The features as of a request are those of the latest row of the history at or before its time, whether
    or not they were online by then. Where there is no row at all, a count is what the model learnt for an
    entity to which nothing has happened yet.

    Args:
        features: where the lake and the store are.
        monitoring: size of the sample, and the threshold.
        since: requests before it are left out.

    Raises:
        SkewError: no request was logged, or none with features that still exist.
        LakeError: no features are computed.
        StoreError: they are not registered.
    """
    from feature_repo import history, spark, store
    from monitoring.prediction_log import read_predictions

    history.as_of(features)
    drawn = sample(read_predictions(features.lake, since), monitoring.skew_sample)
    requests = drawn.requests.set_index("request_id", drop=False).rename_axis(None)
    served = requests["features"].map(_served)
    asked = requests[["request_id", "user_id", "timestamp"]].rename(columns={"timestamp": "event_timestamp"})
    asked["purpose"] = [json.loads(text)["purpose"] for text in requests["features"]]
    asked["requested_at"] = asked["event_timestamp"].map(pd.Timestamp.timestamp)
    spark.session(features)
    opened = store.open_store(features)
    recomputed = _comparable(store.features_as_of(opened, asked))
    report = compare(served, recomputed.drop(columns="event_timestamp"))
    wanted = recomputed.to_dict("index")
    differs = [not same(served[name], wanted[name]) for name in asked.index]
    earlier = _at_materializations(asked[differs], store.materialized_until(opened))
    behind = _behind(served, _comparable(store.features_as_of(opened, earlier))) if len(earlier) else {}
    return Skew(report, drawn, behind, monitoring.skew_threshold)


def run(since: pd.Timestamp | None = None) -> int:
    """Measure, print, write ``skew.json`` under the home, and return `WITHIN` or `SKEWED`.

    While it works, and after a failure, there is no report: an old one would pass for the present.
    """
    from serving.files import replace_json

    features = FeatureSettings()
    path = features.home / "skew.json"
    path.unlink(missing_ok=True)
    found = measure(features, MonitoringSettings(), since)
    replace_json(path, found.to_dict())
    print(f"{found}\nall figures: {path}")
    return SKEWED if found.skewed else WITHIN


def _served(text: str) -> dict[str, Any]:
    """The features of a log entry."""
    return {name: value for name, value in json.loads(text).items() if name not in REQUEST_INPUTS}


def _comparable(recomputed: pd.DataFrame) -> pd.DataFrame:
    """By request_id: ``event_timestamp`` and the features, with the initial ones of whom nobody knew yet."""
    names = [feature.name for feature in RECOMMENDER_REQUEST_FEATURES]
    initial = {
        feature.name: feature.initial
        for feature in RECOMMENDER_REQUEST_FEATURES
        if feature.initial is not None
    }
    return recomputed.set_index("request_id")[["event_timestamp", *names]].fillna(initial)


def _at_materializations(requests: pd.DataFrame, ends: list[pd.Timestamp]) -> pd.DataFrame:
    """Each request once as of each of the last ends of a materialization before it."""
    times = pd.DataFrame({"end": pd.Series(ends, dtype="datetime64[us, UTC]")})
    pairs = requests.merge(times, how="cross")
    pairs = pairs[pairs["end"] < pairs["event_timestamp"]].sort_values("end", ascending=False)
    last = pairs.groupby("request_id").head(MATERIALIZATIONS_TRIED)
    return last.drop(columns="event_timestamp").rename(columns={"end": "event_timestamp"})


def _behind(served: "pd.Series[Any]", earlier: pd.DataFrame) -> dict[str, int]:
    """Count requests by the day of the latest earlier state which they were served, if it is one of them."""
    days: dict[str, str] = {}
    for row in earlier.sort_values("event_timestamp").reset_index().to_dict("records"):
        if same(served[row["request_id"]], row):
            days[row["request_id"]] = f"{row['event_timestamp']:%Y-%m-%d}"
    return dict(sorted(Counter(days.values()).items(), reverse=True))
