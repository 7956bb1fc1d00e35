"""Bring one period of a source into the lake: read, validate, quarantine, write."""

from dataclasses import dataclass

import pandas as pd

from feature_repo import lake, readers
from feature_repo.settings import FeatureSettings


@dataclass(frozen=True)
class Ingested:
    """What became of the rows of one batch, by table."""

    rows: dict[str, int]
    repeated: dict[str, int]
    """Good rows whose key the lake already held."""

    quarantined: dict[str, int]
    blanked: dict[str, int]
    """Implausible attributes that were emptied while their row was kept, by expectation."""

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


def ingest(
    data: str, since: pd.Timestamp | None, until: pd.Timestamp | None, settings: FeatureSettings
) -> Ingested:
    """Land the rows of ``[since, until)`` from the dataset behind ``data`` (see ``readers.dataset_of``).

    All tables are validated before the first is written: a batch that is mostly bad changes nothing.

    Raises:
        SourceError: the source cannot be read.
        MostlyBadError: more of a table is bad than the settings of ``monitoring`` allow.
        LakeError: the lake holds another dataset, or there is no room.
    """
    from monitoring import quarantine
    from monitoring.expectations import validate
    from monitoring.settings import MonitoringSettings

    dataset = readers.dataset_of(data)
    lake.check_room(settings.home)
    arrived = readers.read(data).period(since, until)
    unreadable = len(arrived.unparsed)
    if unreadable > MonitoringSettings().mostly_bad_share * (unreadable + len(arrived.ratings)):
        raise readers.SourceError(
            f"{unreadable} of {unreadable + len(arrived.ratings)} lines of {data} cannot be read, the first "
            f"because {arrived.unparsed['reason'].iloc[0]}: is this the right file?"
        )
    checked = {
        table: validate(frame, table)
        for table, frame in (
            ("users", arrived.users),
            ("rentals", arrived.rentals),
            ("ratings", arrived.ratings),
        )
    }
    bad = {table: validation.bad for table, validation in checked.items()} | {"unparsed": arrived.unparsed}
    lake.claim(settings.lake, dataset)
    batch = f"{dataset}-{readers.fingerprint(data)}-{_day(since, 'start')}-{_day(until, 'end')}"
    kept = {
        table: quarantine.write(frame, table, batch, settings.lake / "quarantine")
        for table, frame in bad.items()
    }
    rows = {table: lake.append(settings.lake, table, batch, each.good) for table, each in checked.items()}
    return Ingested(
        rows=rows,
        repeated={table: len(each.good) - rows[table] for table, each in checked.items()},
        quarantined=kept,
        blanked={name: count for each in checked.values() for name, count in each.blanked.items() if count},
    )


def _day(time: pd.Timestamp | None, otherwise: str) -> str:
    return otherwise if time is None else f"{time:%Y-%m-%d}"
