"""Running sums that go on: from events to the newest row of each key, online."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.names import VIEWS
from feature_repo.schema import TIMESTAMP
from feature_repo.store import write_online
from feature_repo.stream.database import StreamDatabase
from feature_repo.stream.entities import Entities
from feature_repo.transforms.activity import table
from feature_repo.transforms.occurrences import Counted
from feature_repo.transforms.running import Rows, advance
from feature_repo.views import VIEW_DEFINITIONS, View

if TYPE_CHECKING:
    from feast import FeatureStore

EVENTS_AT_ONCE = 50_000
"""Events that are folded at once: some tens of megabytes."""


class Folding:
    """Folds events into the running sums of ``database`` and publishes what changes."""

    def __init__(self, database: StreamDatabase, store: "FeatureStore", entities: Entities) -> None:
        self._database = database
        self._store = store
        # Feast reads a view out of its registry anew each time, which takes longer than to write to it.
        self._views = {view.name: store.get_feature_view(view.name) for view in VIEW_DEFINITIONS}
        self.entities = entities

    def advance(self, view: View, events: pa.Table, until: int, due: Sequence[str] = ()) -> None:
        """Let events enter and what is due leave, up to ``until``, for the keys of ``events`` and ``due``.

        The rows go online first. If the transaction around this is lost, the same rows are written again.
        """
        keys = list(dict.fromkeys([*events["key"].to_pylist(), *due]))
        rows, after = advance(self._database.load(view.name, keys), events, until, view.counted)
        if len(rows.key):
            write_online(self._store, self._views[view.name], self._features(view, _newest(rows)))
        self._database.save(view.name, after)

    def replay(self, view: View, events: pa.Table) -> None:
        """Fold events of any number in the order in which they became known."""
        events = events.sort_by("known_at")
        known = events["known_at"].to_numpy()
        start = 0
        while start < len(known):
            # What became known at once is folded at once.
            last = known[min(start + EVENTS_AT_ONCE, len(known)) - 1]
            end = int(np.searchsorted(known, last, side="right"))
            self.advance(view, events.slice(start, end - start), int(last) + 1)
            start = end

    def _features(self, view: View, rows: Rows) -> pa.Table:
        """Rows as the feature view has them: its key, ``event_timestamp``, its features."""
        found = table(view, rows)
        profile = self.entities.profile(view, found["key"].to_pylist())
        columns = {view.key: found["key"], "event_timestamp": pc.cast(found["at"], TIMESTAMP)}
        for feature in VIEWS[view.name]:
            columns[feature.name] = profile[feature.name] if feature.name in profile else found[feature.name]
        return pa.table(columns)


def _newest(rows: Rows) -> Rows:
    """The last row of each key; those of a key follow each other in order of time."""
    last = np.append(rows.key[1:] != rows.key[:-1], True)
    return Rows(
        key=rows.key[last],
        at=rows.at[last],
        totals=rows.totals[last],
        last_at=rows.last_at[last],
        counted=[
            Counted(each.counts[last], each.favourite[last], each.distinct[last]) for each in rows.counted
        ],
        recent=rows.recent[last],
    )
