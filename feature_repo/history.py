"""The feature job: from the lake's tables to the history of features, computed once and then extended.

The history of a view has a row for each time at which a feature of an entity changes. Rows are stamped by
when their values became known, so later ratings add rows and leave those before alone. What does change old
rows are rows of the lake that a computation did not see although they were known by its time (a batch that
was loaded late): of the entities that they touch, and of no others, the history is computed anew.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq

from feature_repo.lake import LakeError, replacing
from feature_repo.schema import TABLES
from feature_repo.settings import FeatureSettings
from feature_repo.spark import session
from feature_repo.views import VIEW_DEFINITIONS, View

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

STARTS = {"users": "joined_at", "rentals": "listed_at"}
STATE_FOLDER = "feature_state"


@dataclass(frozen=True)
class Computed:
    """What the history in the lake was computed from."""

    as_of: str
    """ISO time up to which it goes."""

    batches: dict[str, dict[str, str]]
    """Per table, the hash of each batch that it has seen."""

    definition: str
    """Hash of the code that defines the features: another one asks for the whole history anew."""


def compute(settings: FeatureSettings, until: pd.Timestamp) -> dict[str, int]:
    """Compute the feature history up to ``until`` (UTC) from what was known before it, into the lake.

    What is there is extended where that gives the same rows as computing the whole. While it works, and after
    a failure, ``as_of`` says that there are no features: the views are never of different times.

    Returns:
        Rows of each feature table.
    """
    before = _computed(settings)
    batches = {table: _hashes(settings.lake / table) for table in TABLES}
    if before and not _extends(before, batches, until):
        before = None
    _mark(settings).unlink(missing_ok=True)
    source = _Source(settings, before, batches, until)
    rows = {view.name: _compute_view(settings, source, view) for view in VIEW_DEFINITIONS}
    computed = Computed(until.isoformat(), batches, definition())
    temporary = _mark(settings).with_suffix(".new")
    temporary.write_text(json.dumps(asdict(computed), indent=1))
    temporary.replace(_mark(settings))
    return rows


def as_of(settings: FeatureSettings) -> pd.Timestamp:
    """The time up to which the features of the lake are computed: later ratings are not in them.

    Raises:
        LakeError: there are none, or their computation did not end.
    """
    computed = _computed(settings)
    if computed is None:
        raise LakeError(f"the lake at {settings.lake} has no features: run `make features`")
    return pd.Timestamp(computed.as_of)


def definition() -> str:
    """A hash of everything that decides what a feature's value is."""
    room = Path(__file__).parent
    files = [room / "names.py", room / "views.py", *sorted((room / "transforms").glob("*.py"))]
    content = hashlib.sha256()
    for file in files:
        content.update(file.read_bytes())
    return content.hexdigest()


class _Source:
    """The lake as a computation sees it: what is new, and what came late."""

    def __init__(
        self,
        settings: FeatureSettings,
        before: Computed | None,
        batches: dict[str, dict[str, str]],
        until: pd.Timestamp,
    ) -> None:
        from pyspark.sql import functions as F

        from feature_repo.transforms.batch import with_attributes

        self.spark = session(settings)
        self.lake = settings.lake
        self.until = _microseconds(until)
        self.since = since = _microseconds(pd.Timestamp(before.as_of)) if before else 0
        """Where the history goes on from; 0 for the beginning."""
        known_at = F.greatest(F.unix_micros("arrived_at"), F.unix_micros("event_timestamp"))
        started = {name: F.unix_micros(column) - 1 for name, column in STARTS.items()}
        self.tables = {name: self._read(name).where(started[name] < self.until) for name in STARTS}
        ratings = self._read("ratings").withColumn("known_at", known_at).where(F.col("known_at") < self.until)
        self.ratings = with_attributes(ratings, self._read("rentals"))
        self.late_ratings = self.late_starts = None
        new = {
            name: sorted(set(names) - set(before.batches.get(name, {}))) if before else []
            for name, names in batches.items()
        }
        if before and any(new.values()):
            # Ratings that were known by then but not seen, or seen without the attributes of their rental.
            rentals = self._read("rentals", new["rentals"]).select("rental_id").distinct()
            seen = ratings.where(F.col("known_at") < since)
            unseen = self._read("ratings", new["ratings"]).withColumn("known_at", known_at)
            late = (
                unseen.where(F.col("known_at") < since)
                .select("rating_id")
                .unionByName(seen.join(rentals, "rental_id", "left_semi").select("rating_id"))
            )
            self.late_ratings = self.ratings.join(late.distinct(), "rating_id", "left_semi")
            self.late_starts = {
                name: self._read(name, new[name]).where(started[name] < since) for name in STARTS
            }

    def _read(self, table: str, batches: list[str] | None = None) -> "DataFrame":
        from pyspark.sql import functions as F
        from pyspark.sql.pandas.types import from_arrow_schema

        folder = self.lake / table
        schema = from_arrow_schema(TABLES[table])
        if batches == []:
            return self.spark.createDataFrame([], schema)
        paths = [str(folder / name) for name in batches] if batches else [str(folder)]
        frame = self.spark.read.schema(schema).parquet(*paths)
        if table == "ratings":
            # A lake of the time before arrivals were recorded has none.
            frame = frame.withColumn("arrived_at", F.coalesce("arrived_at", "event_timestamp"))
        return frame

    def touched(self, view: View) -> "DataFrame | None":
        """The keys of ``view`` whose history must be computed anew; None if there are none."""
        if self.late_ratings is None or self.late_starts is None:
            return None
        keys = self.late_ratings.select(view.key)
        if view.starts:
            keys = keys.unionByName(self.late_starts[view.starts].select(view.key))
        keys = keys.where(keys[view.key].isNotNull()).distinct().cache()
        return keys if keys.head(1) else None


def _compute_view(settings: FeatureSettings, source: _Source, view: View) -> int:
    """Write the history of one view and the state to go on from."""
    from pyspark.sql import functions as F

    from feature_repo.transforms.batch import fold, history_rows, view_events

    folder, state_folder = settings.lake / view.name, settings.lake / STATE_FOLDER / view.name
    spark = source.spark
    events = view_events(view, source.ratings, source.tables)
    state = touched = None
    if source.since:
        touched = source.touched(view)
        state = spark.read.parquet(str(state_folder))
        recent = F.col("known_at") >= source.since
        if touched is None:
            events = events.where(recent)
        else:
            keys = touched.withColumnRenamed(view.key, "key").withColumn("is_touched", F.lit(True))
            events = events.join(F.broadcast(keys), "key", "left").where(recent | F.col("is_touched"))
            events = events.drop("is_touched")
            state = state.join(F.broadcast(keys), "key", "left_anti")
    with replacing(state_folder) as new_state, replacing(folder) as new:
        scratch = new.with_name(f".{view.name}.scratch")
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            folded = fold(view, events, source.until, state)
            folded.write.partitionBy("is_state").parquet(str(scratch))
            output = spark.read.schema(folded.schema).parquet(str(scratch))
            output.where("is_state").select("key", *_STATE_COLUMNS).write.parquet(str(new_state))
            rows = history_rows(view, output.where("not is_state"), source.tables)
            if not source.since:
                rows.write.parquet(str(new))
            elif touched is None:
                rows.write.parquet(str(new))
                _link(folder, new)
            else:
                kept = spark.read.parquet(str(folder)).join(F.broadcast(touched), view.key, "left_anti")
                kept.unionByName(rows).write.parquet(str(new))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return sum(pq.read_metadata(file).num_rows for file in new.glob("*.parquet"))


_STATE_COLUMNS = ("totals", "last_at", "counts", "leaving")


def _link(old: Path, new: Path) -> None:
    """Take the files of ``old`` into ``new`` without copying where the file system can."""
    for file in old.glob("*.parquet"):
        try:
            os.link(file, new / file.name)
        except OSError:
            shutil.copyfile(file, new / file.name)


def _extends(before: Computed, batches: dict[str, dict[str, str]], until: pd.Timestamp) -> bool:
    """Whether what was computed is a part of what is asked for."""
    unchanged = all(
        batches[table].get(name) == content
        for table, names in before.batches.items()
        for name, content in names.items()
    )
    return unchanged and before.definition == definition() and until >= pd.Timestamp(before.as_of)


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob("*.parquet")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _microseconds(time: pd.Timestamp) -> int:
    return int(time.value // 1000)


def _computed(settings: FeatureSettings) -> Computed | None:
    mark = _mark(settings)
    return Computed(**json.loads(mark.read_text())) if mark.is_file() else None


def _mark(settings: FeatureSettings) -> Path:
    return settings.lake / "FEATURES.json"
