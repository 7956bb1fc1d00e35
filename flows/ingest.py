"""Bring one period of a source into the lake: read, validate, quarantine, write."""

from dataclasses import dataclass

import pandas as pd

from feature_repo import lake, readers
from feature_repo.settings import FeatureSettings


@dataclass(frozen=True)
class Ingested:
    """Rows of one batch: written per table, and put into quarantine per table."""

    batch: str
    rows: dict[str, int]
    quarantined: dict[str, int]
    blanked: int
    """Attributes (such as an age of 116) that were emptied while their row was kept."""


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

    dataset = readers.dataset_of(data)
    lake.check_room(settings.home)
    lake.claim(settings.lake, dataset)
    arrived = readers.read(data).period(since, until)
    batch = f"{dataset}-{_day(since, 'start')}-{_day(until, 'end')}"
    checked = {
        table: validate(frame, table)
        for table, frame in (
            ("users", arrived.users),
            ("rentals", arrived.rentals),
            ("ratings", arrived.ratings),
        )
    }
    bad = {table: validation.bad for table, validation in checked.items()} | {"unparsed": arrived.unparsed}
    for table, frame in bad.items():
        quarantine.write(frame, table, batch, settings.lake)
    return Ingested(
        batch=batch,
        rows={
            table: lake.append(settings.lake, table, batch, validation.good)
            for table, validation in checked.items()
        },
        quarantined={table: len(frame) for table, frame in bad.items()},
        blanked=sum(validation.blanked for validation in checked.values()),
    )


def _day(time: pd.Timestamp | None, otherwise: str) -> str:
    return otherwise if time is None else f"{time:%Y-%m-%d}"
