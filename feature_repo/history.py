"""The feature job: from the lake's tables to the history of features, computed once and then extended.

The history of a view has a row for each time at which a feature of an entity changes. Rows are stamped by
when their values became known, so later ratings add rows and leave those before alone. What does change old
rows are rows of the lake that a computation did not see although they were known by its time (a batch that
was loaded late): of the entities that they touch, and of no others, the history is computed anew.
"""

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq

from feature_repo.lake import LakeError, exclusive, replacing
from feature_repo.schema import TABLES, TIMES
from feature_repo.settings import FeatureSettings
from feature_repo.spark import session
from feature_repo.transforms.running import STATE
from feature_repo.views import ENTITY_ATTRIBUTES, VIEW_DEFINITIONS, View

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

    What is there is extended where that gives the same rows as computing the whole. It takes the place of the
    old history when all views are done; until then, and after any failure before, the old one stays readable.

    Returns:
        Rows of each feature table.

    Raises:
        LakeError: ``until`` has no time zone or has not come, or another computation is under way.
    """
    if until.tzinfo is None:
        raise LakeError(f"{until} has no time zone, so it names no moment: give it in UTC")
    if until > pd.Timestamp.now("UTC"):
        raise LakeError(f"{until} lies in the future, of which nothing is known: give no later time than now")
    with exclusive(settings.lake / "features"):
        before = _computed(settings)
        batches = {table: _hashes(settings.lake / table) for table in TABLES}
        if before and not _extends(settings, before, batches, until):
            before = None
        source = _Source(settings, before, batches, until)
        with ExitStack() as replacements:
            rows = {
                view.name: _compute_view(settings, source, view, replacements) for view in VIEW_DEFINITIONS
            }
            # While one view after the other takes its place, nobody must take them for one time's.
            _mark(settings).unlink(missing_ok=True)
        computed = Computed(until.isoformat(), batches, definition())
        temporary = _mark(settings).with_suffix(".new")
        temporary.write_text(json.dumps(asdict(computed), indent=1))
        temporary.replace(_mark(settings))
    return rows


def as_of(settings: FeatureSettings) -> pd.Timestamp:
    """The time up to which the features of the lake are computed: later ratings are not in them.

    Raises:
        LakeError: there are none, or of another definition, or they are just being replaced, or that was
            interrupted.
    """
    computed = _computed(settings)
    if computed is None:
        raise LakeError(f"the lake at {settings.lake} has no features: run `make features`")
    if computed.definition != definition():
        raise LakeError("the features in the lake were computed by another definition: run `make features`")
    return pd.Timestamp(computed.as_of)


def missed(settings: FeatureSettings) -> int:
    """How many ratings were known by ``as_of`` and are not in the features: they landed after them."""
    computed = _computed(settings)
    if computed is None:
        return 0
    seen, until = computed.batches["ratings"], pd.Timestamp(computed.as_of)
    late = 0
    for path in (settings.lake / "ratings").glob("*.parquet"):
        if path.name not in seen:
            times = pq.read_table(path, schema=TABLES["ratings"]).select(TIMES["ratings"]).to_pandas()
            late += int((times.max(axis=1) < until).sum())
    return late


def resumable(settings: FeatureSettings, now: pd.Timestamp) -> Computed | None:
    """What the state in ``STATE_FOLDER`` was computed from, if the features at ``now`` can go on from it."""
    before = _computed(settings)
    batches = {table: _hashes(settings.lake / table) for table in TABLES}
    return before if before and _extends(settings, before, batches, now) else None


@functools.cache
def definition() -> str:
    """A hash of everything that decides what a feature's value is, as this process first saw it."""
    room = Path(__file__).parent
    files = [
        Path(__file__),
        room / "names.py",
        room / "views.py",
        *sorted((room / "transforms").glob("*.py")),
    ]
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
        from feature_repo.transforms.batch import with_attributes

        self.spark = session(settings)
        self.lake = settings.lake
        self.until = _microseconds(until)
        self.since = _microseconds(pd.Timestamp(before.as_of)) if before else None
        self.tables = {name: self._started(name, batches[name], self.until) for name in STARTS}
        ratings = self._known("ratings", batches["ratings"], self.until)
        entities = {table: self._read(table, batches[table]) for table in ENTITY_ATTRIBUTES}
        self.ratings = with_attributes(ratings, entities)
        self._late: dict[str, DataFrame] = {}
        if before and self.since is not None:
            new = {table: sorted(set(batches[table]) - set(before.batches[table])) for table in TABLES}
            self._find_late(ratings, new, self.since)

    def _find_late(self, ratings: "DataFrame", new: dict[str, list[str]], since: int) -> None:
        """Find the rows of ``new`` batches that the computation up to ``since`` should have had."""
        from pyspark.sql import functions as F

        from feature_repo.transforms.batch import with_attributes

        late = self._known("ratings", new["ratings"], since).select("rating_id")
        for table, attributes in ENTITY_ATTRIBUTES.items():
            if new[table]:
                seen = with_attributes(
                    ratings.where(F.col("known_at") < since), {table: self._read(table, new[table])}
                )
                amended = seen.where(" or ".join(f"{name} is not null" for name in attributes))
                late = late.unionByName(amended.select("rating_id"))
        late = late.distinct().cache()
        if late.head(1):
            self._late["ratings"] = self.ratings.join(late, "rating_id", "left_semi")
        for name in STARTS:
            started = self._started(name, new[name], since)
            if started.head(1):
                self._late[name] = started

    def _started(self, table: str, batches: Iterable[str], before: int) -> "DataFrame":
        """The users or rentals whose first row is stamped ``before`` or earlier."""
        from pyspark.sql import functions as F

        return self._read(table, batches).where(F.unix_micros(STARTS[table]) <= before)

    def _known(self, table: str, batches: Iterable[str], before: int) -> "DataFrame":
        from pyspark.sql import functions as F

        from feature_repo.transforms.batch import known_at

        return self._read(table, batches).withColumn("known_at", known_at()).where(F.col("known_at") < before)

    def _read(self, table: str, batches: Iterable[str]) -> "DataFrame":
        """Read exactly these batches, users with their classes; others may land meanwhile."""
        from pyspark.sql.pandas.types import from_arrow_schema

        from feature_repo.transforms.batch import with_classes

        paths, schema = [str(self.lake / table / name) for name in batches], from_arrow_schema(TABLES[table])
        rows = (
            self.spark.read.schema(schema).parquet(*paths)
            if paths
            else self.spark.createDataFrame([], schema)
        )
        return with_classes(rows) if table == "users" else rows

    def touched(self, view: View) -> "DataFrame | None":
        """The keys of ``view`` whose history must be computed anew; None if there are none."""
        late = [self._late[table] for table in ("ratings", view.starts) if table in self._late]
        if not late:
            return None
        keys = reduce(lambda one, other: one.unionByName(other), [frame.select(view.key) for frame in late])
        return keys.where(keys[view.key].isNotNull()).distinct().cache()


def _compute_view(settings: FeatureSettings, source: _Source, view: View, replacements: ExitStack) -> int:
    """Write one view's history and the state to go on from; ``replacements`` puts them into their place."""
    from pyspark.sql import functions as F

    from feature_repo.transforms.batch import fold, history_rows, view_events

    folder, state_folder = settings.lake / view.name, settings.lake / STATE_FOLDER / view.name
    spark = source.spark
    events = view_events(view, source.ratings, source.tables)
    state = touched = None
    if source.since is not None:
        touched = source.touched(view)
        state = spark.read.parquet(str(state_folder)).select(STATE.names)
        recent = F.col("known_at") >= source.since
        if touched is None:
            events = events.where(recent)
        else:
            keys = touched.withColumnRenamed(view.key, "key").withColumn("is_touched", F.lit(True))
            events = events.join(keys, "key", "left").where(recent | F.col("is_touched"))
            events = events.drop("is_touched")
            state = state.join(keys, "key", "left_anti")
    rows = history_rows(view, fold(view, events, source.until, state), source.tables)
    if touched is not None:
        kept = spark.read.schema(rows.drop("is_state").schema).parquet(str(folder))
        kept = kept.join(touched, view.key, "left_anti").withColumn("is_state", F.lit(False))
        rows = rows.unionByName(kept)
    new, new_state = (replacements.enter_context(replacing(target)) for target in (folder, state_folder))
    _write(rows, new, new_state)
    if source.since is not None and touched is None:
        _link(folder, new)
    return sum(pq.read_metadata(file).num_rows for file in new.glob("*.parquet"))


def _write(rows: "DataFrame", history: Path, state: Path) -> None:
    """Write the rows of both kinds in one pass over what they are computed from."""
    scratch = history.with_name(f"{history.name}.parts")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        rows.write.partitionBy("is_state").parquet(str(scratch))
        for kind, folder in (("false", history), ("true", state)):
            part = scratch / f"is_state={kind}"
            if part.is_dir():
                part.rename(folder)
            else:
                rows.sparkSession.createDataFrame([], rows.drop("is_state").schema).write.parquet(str(folder))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _link(old: Path, new: Path) -> None:
    """Take the files of ``old`` into ``new`` without copying where the file system can."""
    for file in old.glob("*.parquet"):
        try:
            os.link(file, new / file.name)
        except OSError:
            shutil.copyfile(file, new / file.name)


def _extends(
    settings: FeatureSettings, before: Computed, batches: dict[str, dict[str, str]], until: pd.Timestamp
) -> bool:
    """Whether what was computed is there, and a part of what is asked for."""
    there = all(
        (folder / view.name).is_dir()
        for view in VIEW_DEFINITIONS
        for folder in (settings.lake, settings.lake / STATE_FOLDER)
    )
    unchanged = all(
        batches[table].get(name) == content
        for table, names in before.batches.items()
        for name, content in names.items()
    )
    return there and unchanged and before.definition == definition() and until >= pd.Timestamp(before.as_of)


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
