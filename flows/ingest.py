"""Bring one period of a source into the lake: read, validate, quarantine, write."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from feature_repo import lake, readers
from feature_repo.settings import FeatureSettings
from flows import metrics
from flows.events import on_argo

if TYPE_CHECKING:
    from monitoring.batch_quality import BatchFigures


@dataclass(frozen=True)
class Ingested:
    """What became of the rows of one batch, by table."""

    rows: dict[str, int]
    repeated: dict[str, int]
    """Good rows whose key the lake already held."""

    quarantined: dict[str, int]
    blanked: dict[str, int]
    """Implausible attributes that were emptied while their row was kept, by expectation."""

    findings: tuple[str, ...] = ()
    """What a person should know of the batch beside the ones before: fields, volume, freshness."""

    def __str__(self) -> str:
        """The counts in words, without what is zero."""
        parts = {
            "landed": self.rows,
            "again": self.repeated,
            "in quarantine": self.quarantined,
            "blanked": self.blanked,
        }
        counts = {word: {name: n for name, n in part.items() if n} for word, part in parts.items()}
        return "; ".join(
            f"{word}: " + ", ".join(f"{n:,} {name}" for name, n in part.items())
            for word, part in counts.items()
            if part
        )


def is_wanted(data: str, settings: FeatureSettings) -> bool:
    """Return whether a run of the features flow ingests: without ``data`` only what the generator makes.

    Raises:
        LakeError: Argo runs it on an empty lake, which the generator's marketplace would fill for good.
    """
    held = lake.dataset_of(settings.lake)
    if not data and not held and on_argo():
        raise lake.LakeError(
            "the lake is empty: bring your ratings first, by `python flows/features.py run --data FILE`"
        )
    return bool(data) or held in ("", readers.GENERATOR)


def ingest(
    data: str, since: pd.Timestamp | None, until: pd.Timestamp | None, settings: FeatureSettings
) -> Ingested:
    """Land the rows of ``[since, until)`` from the dataset behind ``data`` (see ``readers.dataset_of``).

    All tables are validated before the first is written: a batch that is mostly bad changes nothing.

    Raises:
        SourceError: the source cannot be read.
        MostlyBadError: more of a table is bad than the settings of ``monitoring`` allow.
        VolumeError: the batch is of another order of magnitude than the ones before.
        LakeError: the lake holds another dataset, or there is no room.
    """
    from monitoring import data_docs, quarantine
    from monitoring.batch_quality import findings
    from monitoring.expectations import MostlyBadError, validate
    from monitoring.quality_history import QualityHistory
    from monitoring.settings import MonitoringSettings

    monitored = MonitoringSettings(home=settings.home)
    dataset = readers.dataset_of(data)
    lake.check_room(settings.home)
    arrived = readers.read(data).period(since, until)
    unreadable = len(arrived.unparsed)
    bad_shares = {"unparsed": unreadable / max(unreadable + len(arrived.ratings), 1)}
    if bad_shares["unparsed"] > monitored.mostly_bad_share:
        metrics.ingested({}, bad_shares, settings)
        raise readers.SourceError(
            f"{unreadable} of {unreadable + len(arrived.ratings)} lines of {data} cannot be read, the first "
            f"because {arrived.unparsed['reason'].iloc[0]}: is this the right file?"
        )
    frames = {"users": arrived.users, "rentals": arrived.rentals, "ratings": arrived.ratings}
    try:
        checked = {table: validate(frame, table) for table, frame in frames.items()}
    except MostlyBadError as error:
        metrics.ingested({}, {error.table: error.share}, settings)
        raise
    bad = {table: validation.bad for table, validation in checked.items()} | {"unparsed": arrived.unparsed}
    batch = f"{dataset}-{readers.fingerprint(data)}-{_day(since, 'start')}-{_day(until, 'end')}"
    figures = _figures(batch, arrived, bad)
    history, now = QualityHistory(monitored.quality), pd.Timestamp.now("UTC")
    past = [one for one, _ in history.batches()]
    found = findings(figures, past, min(until or now, now).to_pydatetime(), monitored)
    lake.claim(settings.lake, dataset)
    kept = {
        table: quarantine.write(frame, table, batch, settings.lake / "quarantine")
        for table, frame in bad.items()
    }
    rows = {table: lake.append(settings.lake, table, batch, each.good) for table, each in checked.items()}
    history.record_batch(figures, found)
    for table, each in checked.items():
        data_docs.publish(monitored.data_docs, each.result, len(frames[table]), f"The last batch of {table}.")
    bad_shares |= {table: len(each.bad) / max(len(frames[table]), 1) for table, each in checked.items()}
    ingested = Ingested(
        rows=rows,
        repeated={table: len(each.good) - rows[table] for table, each in checked.items()},
        quarantined=kept,
        blanked={name: count for each in checked.values() for name, count in each.blanked.items() if count},
        findings=tuple(found),
    )
    fates = {"landed": ingested.rows, "repeated": ingested.repeated, "quarantined": ingested.quarantined}
    metrics.ingested(fates, bad_shares, settings)
    return ingested


def _figures(batch: str, arrived: readers.Source, bad: dict[str, pd.DataFrame]) -> "BatchFigures":
    from monitoring.batch_quality import BatchFigures

    arrivals = arrived.ratings["arrived_at"].dropna()
    frames = {"users": arrived.users, "rentals": arrived.rentals, "ratings": arrived.ratings}
    return BatchFigures(
        batch=batch,
        fields=arrived.fields,
        rows={table: len(frame) for table, frame in frames.items()},
        bad={table: len(frame) for table, frame in bad.items()},
        first=arrivals.min().to_pydatetime() if len(arrivals) else None,
        newest=arrivals.max().to_pydatetime() if len(arrivals) else None,
    )


def _day(time: pd.Timestamp | None, otherwise: str) -> str:
    return otherwise if time is None else f"{time:%Y-%m-%d}"
