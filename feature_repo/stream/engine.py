"""The stream's engine: what happens to a micro-batch, and to time that passes without one.

A micro-batch is stamped with its arrival before anything else, and all that follows from it is one
transaction: sums, ids, the journal, the files that were read. What goes elsewhere goes there first and can be
repeated: online the newest time wins and a repeated row is the same row, a file of the quarantine replaces
itself. So a process that is killed anywhere goes on as if it had not been; Spark repeats the micro-batch, and
it has the arrival that it had.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from feature_repo.store import open_store, register
from feature_repo.stream import StreamError, inbox, landing, quarantine
from feature_repo.stream.database import StreamDatabase
from feature_repo.stream.entities import Entities, events
from feature_repo.stream.events import Line, parse
from feature_repo.stream.folding import Folding
from feature_repo.stream.seeding import is_seeded, seed
from feature_repo.transforms.running import EVENTS
from feature_repo.views import VIEW_DEFINITIONS

KEYS_AT_ONCE = 2_000
"""Keys whose expired sums leave in one transaction: micro-batches wait for it some tenths of a second."""


def microseconds_now() -> int:
    """The time of this machine, in microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True)
class Outcome:
    """What became of a micro-batch."""

    accepted: int = 0
    repeated: int = 0
    quarantined: int = 0


class Engine:
    """Micro-batches in, features and rows of the lake out; safe to call from several threads."""

    def __init__(self, settings: FeatureSettings, clock: Callable[[], int] = microseconds_now) -> None:
        """Open the stream's memory and the feature store.

        Args:
            settings: where all of it is.
            clock: the time in microseconds since 1970; a test has its own.
        """
        self._settings = settings
        self._clock = clock
        self._lock = threading.RLock()
        self._paused = False
        self.failure: Exception | None = None
        self._lag: float | None = None
        self._store = open_store(settings)
        register(self._store, settings.lake)
        self._database = StreamDatabase(settings.home / "stream" / "state.db")
        self._folding: Folding | None = None
        self._sweep()

    def is_done(self, batch: str) -> bool:
        """Whether a micro-batch was processed before, so that it need not even be read."""
        with self._lock:
            return self._database.fact("batch") == batch and bool(self._database.fact("batch_done"))

    def process(self, batch: str, lines: Iterable[Line], files: Mapping[str, str] | None = None) -> Outcome:
        """Take in a micro-batch; the same ``batch`` again changes nothing.

        Args:
            batch: its name, the same when it is repeated.
            lines: what it holds.
            files: of the inbox, all of whose lines these are, each with its ``inbox.version`` when it was
                read; they are removed.

        Raises:
            StreamError: the engine is paused.
        """
        with self._lock:
            if self._paused:
                raise StreamError("the stream is stopping: this batch is read again when it goes on")
            if self.is_done(batch):
                return Outcome()
            folding = self._seeded()
            arrived_at = self._stamp(batch)
            parsed = parse(lines, arrived_at)
            seen = self._database.seen(parsed.events["rating_id"].tolist())
            new = parsed.events[~parsed.events["rating_id"].isin(seen)].assign(arrived_at=arrived_at)
            quarantine.write(self._settings, arrived_at, parsed.refused)
            outcome = Outcome(len(new), len(seen) + parsed.repeated, len(parsed.refused))
            with self._database.transaction():
                if len(new):
                    rated = folding.entities.with_attributes(new)
                    for view in VIEW_DEFINITIONS:
                        folding.advance(view, events(view, rated), arrived_at + 1)
                    self._database.remember(new["rating_id"])
                    self._database.enter(new)
                self._database.consume(files or {})
                self._database.count(
                    accepted=outcome.accepted, repeated=outcome.repeated, quarantined=outcome.quarantined
                )
                self._database.note(batch_done=1, folded_at=arrived_at + 1)
            self._sweep()
            if len(new):
                self._lag = (self._clock() - int(new["event_timestamp"].max())) / 1_000_000
            return outcome

    def tick(self) -> bool:
        """Do what time asks for: land what waited, let sums leave their windows; True if there is more."""
        with self._lock:
            if self._paused:
                return False
            now = max(self._clock(), self._database.fact("last_at", 0))
            if landing.is_due(self._database, now, self._settings.stream_landing_seconds):
                self._land()
            folding = self._seeded()
            if self._database.fact("batch_done", 1):
                return self._expire(folding, now)
            # A micro-batch is to be repeated as of its own arrival, which must not be past by then.
            return False

    def _expire(self, folding: Folding, now: int) -> bool:
        found = False
        for view in VIEW_DEFINITIONS:
            keys = self._database.due(view.name, now, KEYS_AT_ONCE)
            if keys:
                found = True
                with self._database.transaction():
                    folding.advance(view, EVENTS.empty_table(), now, keys)
                    self._database.note(last_at=now, folded_at=now)
        return found

    def forget_batch(self) -> None:
        """Expect no micro-batch to be repeated: Spark's own memory of them is gone."""
        with self._lock, self._database.transaction():
            self._database.note(batch=None, batch_done=1)

    def pause(self) -> None:
        """Finish what is being done and refuse everything from now on."""
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        """Take in micro-batches again."""
        with self._lock:
            self._paused = False

    def is_settled(self) -> bool:
        """Whether every micro-batch that was begun was also finished."""
        with self._lock:
            return bool(self._database.fact("batch_done", 1))

    def counts(self) -> dict[str, int]:
        """Lines since the beginning: ``accepted``, ``repeated``, ``quarantined``."""
        with self._lock:
            return {"accepted": 0, "repeated": 0, "quarantined": 0, **self._database.counts()}

    def summary(self) -> str:
        """The counts and the lag of the last event, for a person."""
        counts = ", ".join(f"{name} {number:,}" for name, number in self.counts().items())
        return (
            counts if self._lag is None else f"{counts}; the newest event was online after {self._lag:.2f} s"
        )

    def land(self) -> int:
        """Bring all that was accepted into the lake, and return how many events that were."""
        with self._lock:
            return self._land()

    def close(self) -> None:
        """Land what waits and close."""
        with self._lock:
            self._paused = True
            self.land()
            self._database.close()

    def _land(self) -> int:
        with lake.exclusive(self._settings.lake / "ratings", wait=True):
            # A batch that landed meanwhile may hold some of the same ratings.
            self._seeded()
            return landing.land(self._settings, self._database)

    def _seeded(self) -> Folding:
        now = max(self._clock(), self._database.fact("last_at", 0) + 2)
        if not is_seeded(self._settings, self._database, now):
            entities = seed(self._settings, self._database, self._store, now)
            self._folding = Folding(self._database, self._store, entities)
        elif self._folding is None:
            entities = Entities(self._settings.lake, self._database.fact("seeded_at"))
            self._folding = Folding(self._database, self._store, entities)
        return self._folding

    def _stamp(self, batch: str) -> int:
        """The arrival of a micro-batch: a repeated one has that which it had, a new one is later than all."""
        begun, at = self._database.fact("batch"), self._database.fact("batch_at", 0)
        if begun == batch and at >= self._database.fact("folded_at", 0):
            return at
        at = max(self._clock(), self._database.fact("last_at", 0) + 2)
        with self._database.transaction():
            self._database.note(batch=batch, batch_at=at, batch_done=0, last_at=at)
        return at

    def _sweep(self) -> None:
        """Remove the files that were read."""
        files = self._database.consumed()
        if files:
            inbox.remove(self._settings, files)
            with self._database.transaction():
                self._database.removed()
