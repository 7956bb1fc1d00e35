"""Where the stream begins: running sums that contain all that the lake holds.

They are those of the batch engine (``history``) and whatever became known since, or the whole lake where the
batch engine has seen less than was known by its time. A batch that somebody else puts into the lake, an
edited one, and another definition of the features ask for it anew.
"""

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo import history
from feature_repo.schema import TABLES
from feature_repo.settings import FeatureSettings
from feature_repo.stream.database import JOURNAL_COLUMNS, StreamDatabase
from feature_repo.stream.entities import Entities, events, marks, microseconds
from feature_repo.stream.folding import Folding
from feature_repo.transforms.running import STATE
from feature_repo.views import VIEW_DEFINITIONS

if TYPE_CHECKING:
    from feast import FeatureStore

STATES_AT_ONCE = 20_000
"""Keys whose sums are brought over at once: some tens of megabytes."""

JOURNAL = "the journal"
"""Stands for the batch of ratings that are not in the lake yet."""


def is_seeded(settings: FeatureSettings, database: StreamDatabase, now: int) -> bool:
    """Whether the running sums contain what the lake holds and is known at ``now``."""
    ahead = database.fact("ahead_at")
    return (
        database.fact("definition") == history.definition()
        and database.batches() == marks(settings.lake)
        and (ahead is None or now <= ahead)
    )


def seed(settings: FeatureSettings, database: StreamDatabase, store: "FeatureStore", now: int) -> Entities:
    """Begin anew with all that is known before ``now`` (microseconds since 1970), in one transaction."""
    batches = marks(settings.lake)
    entities = Entities(settings.lake, now)
    folding = Folding(database, store, entities)
    with database.transaction():
        database.forget()
        ratings = _ratings(settings, database)
        database.remember(ratings["rating_id"])
        known = ratings[ratings["known_at"] < now]
        since = _bring_over(settings, database, known, now)
        if since is not None:
            known = known[known["known_at"] >= since]
        known = entities.with_attributes(known)
        for view in VIEW_DEFINITIONS:
            # In one order of time: a row of an earlier time would not replace that of a later beginning.
            parts = [entities.beginnings(view, since), events(view, known)]
            folding.replay(view, pa.concat_tables(parts))
        ahead = [*entities.begins_after(), *ratings.loc[ratings["known_at"] >= now, "known_at"]]
        database.contain(batches)
        database.note(
            definition=history.definition(),
            ahead_at=min(ahead, default=None),
            seeded_at=now,
            last_at=now,
            folded_at=now,
        )
    return entities


def _ratings(settings: FeatureSettings, database: StreamDatabase) -> pd.DataFrame:
    """All ratings there are, with ``known_at`` and the ``batch`` of the lake that holds them."""
    frames = []
    for path in sorted((settings.lake / "ratings").glob("*.parquet")):
        frame = pq.read_table(path, schema=TABLES["ratings"]).to_pandas()
        # A lake of the time before arrivals were recorded has none.
        frame["arrived_at"] = microseconds(frame["arrived_at"].fillna(frame["event_timestamp"]))
        frame["event_timestamp"] = microseconds(frame["event_timestamp"])
        frames.append(frame[list(JOURNAL_COLUMNS)].assign(batch=path.name))
    journal = database.journal()
    if frames:
        landed = pd.concat(frames, ignore_index=True)
        elsewhere = journal["rating_id"].isin(landed["rating_id"])
        database.strike_ids(journal.loc[elsewhere, "rating_id"])
        journal = journal[~elsewhere]
    ratings = pd.concat([*frames, journal.assign(batch=JOURNAL)], ignore_index=True)
    return ratings.assign(known_at=ratings[["arrived_at", "event_timestamp"]].max(axis=1))


def _bring_over(
    settings: FeatureSettings, database: StreamDatabase, known: pd.DataFrame, now: int
) -> int | None:
    """Take the sums of the batch engine and return their time, or None where they do not contain enough."""
    computed = history.resumable(settings, pd.Timestamp(now, unit="us", tz="UTC"))
    if computed is None:
        return None
    as_of = int(pd.Timestamp(computed.as_of).value // 1000)
    unseen = known[~known["batch"].isin(computed.batches["ratings"])]
    entities = {f"{table}/{name}" for table in history.STARTS for name in computed.batches[table]}
    if (unseen["known_at"] < as_of).any() or entities != {
        name for name in marks(settings.lake) if not name.startswith("ratings/")
    }:
        return None
    try:
        for view in VIEW_DEFINITIONS:
            for file in sorted((settings.lake / history.STATE_FOLDER / view.name).glob("*.parquet")):
                for batch in pq.ParquetFile(file).iter_batches(STATES_AT_ONCE, columns=STATE.names):
                    database.save_table(view.name, pa.table(batch).cast(STATE))
    except FileNotFoundError:
        replaced = True
    else:
        replaced = history.resumable(settings, pd.Timestamp(now, unit="us", tz="UTC")) != computed
    if replaced:
        # The batch engine has begun its next computation meanwhile.
        database.forget_sums()
        return None
    return as_of
