"""From the journal to the lake: accepted events become batches of ``ratings``, never twice and never lost.

A batch is written first, and then its events are struck from the journal. After a crash between the two the
lake holds a batch that the running sums do not name, and seeding strikes what the lake has (``seeding``).
"""

import pandas as pd
import pyarrow as pa

from feature_repo import lake
from feature_repo.schema import TABLES, TIMESTAMP
from feature_repo.settings import FeatureSettings
from feature_repo.stream.database import StreamDatabase
from feature_repo.stream.entities import mark
from feature_repo.transforms.running import MICROSECONDS_PER_DAY

EVENTS_A_BATCH = 50_000
"""Events of the journal that are landed at once, before their time has come."""

DATASET = "stream"
"""Name of a marketplace that began with the stream."""


def is_due(database: StreamDatabase, now: int, seconds: float) -> bool:
    """Whether events wait for the lake long enough, or are enough, or are of an earlier day.

    A batch computation as of midnight then finds the events of the day before.
    """
    count, _, first = database.journal_extent()
    return bool(count) and (
        count >= EVENTS_A_BATCH
        or now - first >= seconds * 1_000_000
        or now // MICROSECONDS_PER_DAY > first // MICROSECONDS_PER_DAY
    )


def land(settings: FeatureSettings, database: StreamDatabase) -> int:
    """Bring the events of the journal into the lake, if there are any, and return how many."""
    count, last, first = database.journal_extent()
    if not count:
        return 0
    name = f"stream-{pd.Timestamp(first, unit='us'):%Y%m%dT%H%M%S%f}-{last}"
    rows = _rows(database.journal(last))
    if lake.dataset_of(settings.lake) == "":
        lake.claim(settings.lake, DATASET)
    path = lake.land(settings.lake, "ratings", name, rows)
    with database.transaction():
        database.strike(last)
        database.contain({f"ratings/{path.name}": mark(path)})
    return rows.num_rows


def _rows(events: pd.DataFrame) -> pa.Table:
    times = {name: pa.array(events[name], TIMESTAMP) for name in ("event_timestamp", "arrived_at")}
    schema = TABLES["ratings"]
    events = events.assign(source_rating=events["rating"])
    columns = [
        times[field.name]
        if field.name in times
        else pa.array(events[field.name], field.type, from_pandas=True)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
