"""The batch engine: Spark brings the events of each key together in order and folds them chunk by chunk."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from feature_repo.names import CLASS_WIDTH, CLASSES, VIEWS
from feature_repo.schema import KEYS, TIMES
from feature_repo.transforms.activity import ARROW_TYPES, table
from feature_repo.transforms.running import ATTRIBUTES, STATE, State, advance
from feature_repo.views import ENTITY_ATTRIBUTES, View

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

CHUNK_ROWS = 50_000
"""Rows that are folded at once: some tens of megabytes, whatever the size of a key or a partition."""


def known_at() -> Column:
    """When a rating was known, in microseconds: it had happened and, if its arrival is recorded, arrived."""
    return F.greatest(F.unix_micros("arrived_at"), F.unix_micros("event_timestamp"))


def with_classes(users: DataFrame) -> DataFrame:
    """Add ``names.CLASSES``, each the lower end as text, null where the number is."""
    return users.withColumns(
        {
            name: (F.floor(F.col(number) / CLASS_WIDTH) * CLASS_WIDTH).cast("string")
            for number, (name, _) in CLASSES.items()
        }
    )


def with_attributes(ratings: DataFrame, entities: Mapping[str, DataFrame]) -> DataFrame:
    """Add to each rating the ``views.ENTITY_ATTRIBUTES`` of its rental and its user, if known by then.

    They are null if the rental or user is unknown, or began to exist only after the rating was known: a
    rating stays as it was first seen.

    Args:
        ratings: rows of the lake with ``known_at``.
        entities: ``rentals``, ``users`` (``with_classes``), or one of them, whose attributes alone are added.
    """
    for name, rows in entities.items():
        key, (started,) = KEYS[name], TIMES[name]
        attributes = rows.select(
            F.col(key).alias("entity"), F.unix_micros(started).alias("since"), *ENTITY_ATTRIBUTES[name]
        )
        seen = (F.col(key) == F.col("entity")) & (F.col("since") <= F.col("known_at"))
        ratings = ratings.join(attributes, seen, "left").drop("entity", "since")
    return ratings


def view_events(view: View, ratings: DataFrame, tables: dict[str, DataFrame]) -> DataFrame:
    """Return the events of ``view`` in the schema ``running.EVENTS``.

    Args:
        view: what becomes an event, and of which key.
        ratings: the lake's ratings ``with_attributes``, to be folded.
        tables: the lake's ``users`` and ``rentals`` as far as they begin to exist with these events.
    """
    absent = {name: F.lit(None).cast(_ddl(kind)) for name, kind in ATTRIBUTES.items()}
    events = ratings.select(
        F.col(view.key).alias("key"),
        "known_at",
        F.unix_micros("event_timestamp").alias("happened_at"),
        "rating",
        *[(F.col(name) if view.keeps(name) else absent[name]).alias(name) for name in ATTRIBUTES],
    )
    if view.starts:
        started = F.unix_micros(view.started_at)
        # An entity exists from its start on, not from just after it.
        starts = tables[view.starts].select(
            F.col(view.key).alias("key"),
            (started - 1).alias("known_at"),
            started.alias("happened_at"),
            F.lit(None).cast("double").alias("rating"),
            *[(F.col(n) if n in view.start_measures else absent[n]).alias(n) for n in ATTRIBUTES],
        )
        events = events.unionByName(starts)
    return events.where(F.col("key").isNotNull())


def fold(view: View, events: DataFrame, until: int, state: DataFrame | None = None) -> DataFrame:
    """Return the feature rows of ``view`` up to ``until`` and, marked ``is_state``, the state at ``until``.

    Args:
        view: which features.
        events: rows of the schema ``running.EVENTS``, each known before ``until``.
        until: microseconds since 1970.
        state: rows of the schema ``running.STATE``, where ``events`` go on from; None from the beginning.
    """
    schema = output_schema(view)
    if state is None:
        rows = events.withColumns({field.name: F.lit(None).cast(_ddl(field.type)) for field in STATE_FIELDS})
    else:
        rows = events.unionByName(state, allowMissingColumns=True)

    def folded(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in fold_in_order(view, (pa.Table.from_batches([batch]) for batch in batches), until):
            yield from part.cast(schema).to_batches()

    # A state's row has no time and so comes before the events of its key.
    ordered = rows.repartition("key").sortWithinPartitions("key", F.asc_nulls_first("known_at"))
    return ordered.mapInArrow(folded, _spark_schema(schema))


def fold_in_order(view: View, batches: Iterable[pa.Table], until: int) -> Iterator[pa.Table]:
    """Fold batches that are sorted by key and time; memory does not grow with a key's number of events.

    Yields:
        Tables of ``output_schema``.
    """
    waiting: list[pa.Table] = []
    state = State()
    for batch in batches:
        waiting.append(batch)
        if sum(part.num_rows for part in waiting) < CHUNK_ROWS:
            continue
        rows = pa.concat_tables(waiting)
        last_key = rows["key"][-1]
        whole = rows.filter(pc.not_equal(rows["key"], last_key))
        if whole.num_rows:
            # The first of these keys may have been begun in an earlier chunk.
            yield from _finished(view, state, whole, until)
            state = State()
            waiting = [rows.filter(pc.equal(rows["key"], last_key))]
            continue
        latest = rows["known_at"][-1].as_py()
        if latest is None:
            continue  # so far there is the state of a key, and no event
        before = rows.filter(pc.less(rows["known_at"], latest).fill_null(True))
        if before.num_rows:
            found, state = _advanced(view, state, before, latest)
            yield found
            waiting = [rows.filter(pc.equal(rows["known_at"], latest).fill_null(False))]
    if waiting:
        yield from _finished(view, state, pa.concat_tables(waiting), until)


def _finished(view: View, state: State, rows: pa.Table, until: int) -> Iterator[pa.Table]:
    found, after = _advanced(view, state, rows, until)
    yield found
    states = after.to_table()
    yield _as_output(view, states, is_state=True)


def _advanced(view: View, state: State, rows: pa.Table, until: int) -> tuple[pa.Table, State]:
    is_state = pc.is_valid(rows["totals"])
    begun = rows.filter(is_state)
    if begun.num_rows:
        earlier = State.from_table(begun)
        state = earlier if not state.keys else _joined(state, earlier)
    found, after = advance(state, rows.filter(pc.invert(is_state)), until, view.counted)
    return _as_output(view, table(view, found), is_state=False), after


def _joined(first: State, second: State) -> State:
    """Both states, which have no key in common."""
    return State.from_table(pa.concat_tables([first.to_table(), second.to_table()]))


STATE_FIELDS = [field for field in STATE if field.name != "key"]


def output_schema(view: View) -> pa.Schema:
    """The schema of what ``fold`` returns: a key, a time and features, or a key and its state."""
    profile = {f"{view.prefix}_{name}" for name in view.profile}
    return pa.schema(
        [
            pa.field("is_state", pa.bool_()),
            pa.field("key", pa.string()),
            pa.field("at", pa.int64()),
            *(
                pa.field(feature.name, ARROW_TYPES[feature.kind])
                for feature in VIEWS[view.name]
                if feature.name not in profile
            ),
            *STATE_FIELDS,
        ]
    )


def _as_output(view: View, rows: pa.Table, is_state: bool) -> pa.Table:
    schema = output_schema(view)
    rows = rows.append_column("is_state", pa.array([is_state] * rows.num_rows, pa.bool_()))
    return pa.table(
        [
            rows[field.name].cast(field.type)
            if field.name in rows.column_names
            else pa.nulls(rows.num_rows, field.type)
            for field in schema
        ],
        schema=schema,
    )


def _spark_schema(schema: pa.Schema) -> "StructType":
    return from_arrow_schema(schema)


def _ddl(kind: pa.DataType) -> str:
    return {
        "list<item: int64>": "array<bigint>",
        "int64": "bigint",
        "double": "double",
        "string": "string",
    }[str(kind)]


def history_rows(view: View, folded: DataFrame, tables: dict[str, DataFrame]) -> DataFrame:
    """Return what ``fold`` gave as the history of ``view``: its key, ``event_timestamp`` and its features.

    A profile is part of the rows from ``joined_at`` or ``listed_at`` on. Rows with ``is_state`` keep the
    columns of ``running.STATE`` and nothing else; they are null in all others.

    Args:
        view: whose features.
        folded: rows of ``fold``.
        tables: the lake's ``users`` (``with_classes``) and ``rentals``: the profile's features.
    """
    rows, profile = folded, {f"{view.prefix}_{name}": name for name in view.profile}
    if profile:
        profiles = tables[view.starts].select(
            F.col(view.key).alias("key"), F.unix_micros(view.started_at).alias("since"), *profile.values()
        )
        known = F.col("at") >= F.col("since")
        rows = rows.join(profiles, "key", "left").withColumns(
            {feature: F.when(known, F.col(name)) for feature, name in profile.items()}
        )
    key = F.col("key")
    return rows.select(
        "is_state",
        F.when(~F.col("is_state"), key).alias(view.key),
        F.timestamp_micros("at").alias("event_timestamp"),
        *[F.col(f.name).cast(SPARK_TYPES[f.kind]).alias(f.name) for f in VIEWS[view.name]],
        F.when(F.col("is_state"), key).alias("key"),
        *[field.name for field in STATE_FIELDS],
    )


SPARK_TYPES = {
    "numeric": "float",
    "time": "double",
    "categorical": "string",
    "counts": "string",
    "list": "string",
}
