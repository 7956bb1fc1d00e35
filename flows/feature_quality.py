"""Features against their suites, after they are computed and before anything of them goes online."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from feature_repo.names import VIEWS, Feature
from feature_repo.settings import FeatureSettings
from feature_repo.views import VIEW_DEFINITIONS
from monitoring.contracts import (
    PLAUSIBLE_AGE,
    PLAUSIBLE_CAPACITY,
    PLAUSIBLE_HEIGHT_CM,
    PLAUSIBLE_PRICE,
    PLAUSIBLE_WEIGHT_KG,
    RATING_SCALE,
)
from monitoring.feature_expectations import (
    TIME,
    FeatureColumn,
    FeatureQualityError,
    FeatureTable,
    Judgement,
    judge,
)
from monitoring.settings import MonitoringSettings

LARGEST_COUNT = 1e9
"""No marketplace has a billion rentals; a limit also finds what is infinite or no number."""

LIMITS = {
    "years": PLAUSIBLE_AGE,
    "centimetres": PLAUSIBLE_HEIGHT_CM,
    "kilograms": PLAUSIBLE_WEIGHT_KG,
    "currency": PLAUSIBLE_PRICE,
    "size": PLAUSIBLE_CAPACITY,
    "1..5 stars": RATING_SCALE,
    "rentals": (0.0, LARGEST_COUNT),
    "categories": (0.0, LARGEST_COUNT),
    "ratio": (0.0, LARGEST_COUNT),
}
"""What is possible, by the unit of a feature."""

LARGEST_DEVIATION = (RATING_SCALE[1] - RATING_SCALE[0]) / 2
"""Of ratings: that of as many of the lowest as of the highest."""


@dataclass(frozen=True)
class FeatureQuality:
    """What the suites said of all feature tables as of a time."""

    as_of: pd.Timestamp
    judgements: tuple[Judgement, ...]
    data_docs: str

    @property
    def failures(self) -> list[str]:
        """Every expectation that does not hold, in words."""
        return [f"{one.table}: {failure}" for one in self.judgements for failure in one.failures]

    def require(self) -> None:
        """Go on only where every expectation holds.

        Raises:
            FeatureQualityError: one does not.
        """
        if self.failures:
            raise FeatureQualityError(
                f"{len(self.failures)} expectations of features do not hold, so nothing went online: "
                f"{'; '.join(self.failures)}. What is online is still as it was. See {self.data_docs}; "
                "mend the rows (python -m flows quarantine) or the code, then run `make features` again."
            )


def tables(as_of: pd.Timestamp) -> tuple[FeatureTable, ...]:
    """The contracts of the feature tables, from what is said of each feature."""
    return tuple(
        FeatureTable(view.name, view.key, tuple(_column(one, as_of) for one in VIEWS[view.name]))
        for view in VIEW_DEFINITIONS
    )


def check(settings: FeatureSettings, as_of: pd.Timestamp) -> FeatureQuality:
    """Judge every feature table in the lake, each in one pass, write the data docs, remember what passed."""
    from feature_repo.spark import session
    from monitoring import data_docs
    from monitoring.quality_history import KnownFeatures, QualityHistory
    from monitoring.table_profile import profile

    monitored = MonitoringSettings(home=settings.home)
    history, spark = QualityHistory(monitored.quality), session(settings)
    judgements, page, until = [], "", as_of.to_pydatetime()
    for table in tables(as_of):
        frame = spark.read.parquet(str(settings.lake / table.name))
        names = {table.key, TIME, *(column.name for column in table.columns)}
        there = [name for name in frame.columns if name in names]
        ranged = [column.name for column in table.columns if column.limits and column.name in there]
        before = history.last_features(table.name, until)
        # The same time again was computed anew: then all rows are judged, not those since.
        since = before.as_of if before and before.as_of < until else None
        found = profile(frame.select(*there), table.key, TIME, [*ranged, TIME], since)
        judgement = judge(
            table, found, until, before.known if before else {}, monitored.feature_known_share_kept
        )
        docs = data_docs.publish(
            monitored.data_docs, judgement.result, found.rows, f"Features as of {as_of:%Y-%m-%d}."
        )
        judgements.append(judgement)
        page = str(docs)
    quality = FeatureQuality(as_of, tuple(judgements), page)
    if not quality.failures:
        for one in judgements:
            known = {name: column.known / one.profile.rows for name, column in one.profile.columns.items()}
            history.record_features(one.table, KnownFeatures(until, one.profile.rows, known))
    return quality


def _column(feature: Feature, as_of: pd.Timestamp) -> FeatureColumn:
    limits = None
    if feature.kind == "time":
        limits = (0.0, as_of.timestamp())
    elif feature.kind == "numeric":
        limits = LIMITS[feature.unit]
        if "_rating_deviation_" in feature.name:
            limits = (0.0, LARGEST_DEVIATION)
    always = feature.initial is not None or feature.kind in ("counts", "list")
    return FeatureColumn(feature.name, required=always, limits=limits)


def last_batches(settings: FeatureSettings, most: int) -> Sequence[tuple]:
    """The last batches with their findings, newest first."""
    from monitoring.quality_history import QualityHistory

    return QualityHistory(MonitoringSettings(home=settings.home).quality).batches()[::-1][:most]
