"""How fast the model follows the world: `python -m flows bench-loop --data FILE`, in a home of its own.

Each stage is the real one, by its flow: the start of a flow's processes is in its seconds.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from feature_repo import lake, store
from feature_repo.settings import FeatureSettings
from flows import deployment
from flows.brake import stop_file
from flows.figures import figure
from flows.parameters import BASELINES, CHAMPION, SCRATCH
from flows.retraining import stop
from flows.retraining_log import log_of
from flows.runs import start
from flows.settings import FlowSettings
from flows.story import story_of
from flows.traffic import replaying

STEPS = (10, 100)
"""Percent of the traffic that the new version gets."""


class LoopBenchmarkError(RuntimeError):
    """There is nothing to measure; the message says why."""


def benchmark(data: str) -> dict[str, Any]:
    """Measure, and write ``loop.json`` beside the home.

    Args:
        data: path of a source's file; empty for the generator.
    """
    from serving import runtime
    from serving.settings import ServingSettings

    if FlowSettings().home.parent.name != "bench":
        raise LoopBenchmarkError("it empties the home's online store: run it by `make bench-loop`")
    bench = _Bench(data)
    try:
        for measured in (
            bench.period_to_feature,
            bench.drift_to_alarm,
            bench.alarm_to_trained,
            bench.rollout,
            bench.event_to_feature,
        ):
            measured()
    finally:
        stop_file(FlowSettings()).unlink(missing_ok=True)
        runtime.down(ServingSettings())
    return bench.entries


class _Bench:
    """A first version that serves, and a later period that has not arrived yet."""

    def __init__(self, data: str) -> None:
        from serving import runtime
        from serving.settings import ServingSettings

        self.entries: dict[str, Any] = {}
        self._data, self._story = data, story_of(data)
        self._first, self._second = (f"{at:%Y-%m-%d}" for at in (self._story.first, self._story.second))
        runtime.down(ServingSettings())
        store.empty(FeatureSettings())
        log_of(FlowSettings()).clear()
        start("features", data=data, until=self._first)
        trained = start("train", until=self._first, against=BASELINES, reason="benchmark of the loop").data
        if trained.version is None:
            raise LoopBenchmarkError(f"nothing can be served: {trained.gated.decision}")
        self._state = deployment.serve(trained.version)

    def event_to_feature(self) -> None:
        """A stream's events, one by one."""
        from feature_repo.benchmark.stream import event_to_online

        self._note("event_to_feature", event_to_online(FeatureSettings()))

    def period_to_feature(self) -> None:
        """The whole next period as a batch."""
        with self._timed("period_to_feature", f"the features flow on {self._first} to {self._second}"):
            start("features", data=self._data, since=self._first, until=self._second)

    def drift_to_alarm(self) -> None:
        """The monitoring flow, while a person's stop keeps it from training at once."""
        stop(FlowSettings(), "benchmark of the loop")
        with self._timed("drift_to_alarm", "the monitoring flow, from its start to its alarm"):
            found = start("monitor", until=self._second).data.report
        stop_file(FlowSettings()).unlink()
        self.entries["drift_to_alarm"]["drifted"] = found.drifted
        self._write()

    def alarm_to_trained(self) -> None:
        """A training from scratch, one that goes on from the champion, and a refresh of the catalogue."""
        from models.registry import CHALLENGER, Registry

        seconds, passed = {}, None
        for name, begin in (("full", SCRATCH), ("warm", CHAMPION)):
            how = f"the training flow from {begin}, gate and registration included"
            with self._timed(f"alarm_to_trained_{name}", how):
                trained = start("train", until=self._second, begin=begin, reason=f"benchmark, {name}").data
            seconds[name] = self.entries[f"alarm_to_trained_{name}"]["value"]
            self.entries[f"alarm_to_trained_{name}"] |= {"gate": str(trained.gated.decision)}
            # The later one takes the place of the earlier as challenger: either is as good a canary.
            passed = trained.version or passed
        self.entries["alarm_to_trained_warm"] |= {
            "baseline": seconds["full"],
            "ratio": round(seconds["warm"] / seconds["full"], 3),
        }
        if Registry().alias(CHALLENGER):
            Registry().remove_alias(CHALLENGER)
        with self._timed(
            "alarm_to_refreshed", "the refreshing flow: the champion's weights, today's catalogue"
        ):
            refreshed = start("refresh", until=self._second).data.version
        self._challenger: int = passed or refreshed

    def rollout(self) -> None:
        """From the trained version to its first answer as a canary, and from there to its promotion."""
        import pandas as pd

        from monitoring.prediction_log import read_predictions
        from serving.settings import ServingSettings

        events = lake.read(FeatureSettings().lake, "ratings")
        people = events[events["event_timestamp"] < self._story.second].tail(5_000)
        with replaying(self._state.api_url, people) as traffic:
            time.sleep(2)
            began = pd.Timestamp.now("UTC")
            outcome = deployment.roll_out(self._challenger, STEPS, again=True)
            ended = pd.Timestamp.now("UTC")
        log = read_predictions(ServingSettings().lake, began.to_pydatetime())
        first = log.loc[log["model_version"] == str(self._challenger), "timestamp"].min()
        how = f"version {self._challenger} beside the champion, {traffic.requests:,} requests by 2 people"
        self._note(
            "trained_to_canary", _seconds((first - began).total_seconds(), f"{how}, to its first answer")
        )
        end = "promoted" if outcome.promoted else "rolled back"
        promoted = _seconds((ended - first).total_seconds(), f"{how}; {end}: {'; '.join(outcome.reasons)}")
        self._note("canary_to_promoted", promoted | {"failed_requests": traffic.failed})

    @contextmanager
    def _timed(self, name: str, how: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._note(name, _seconds(time.monotonic() - began, how))

    def _note(self, name: str, entry: dict[str, Any]) -> None:
        self.entries[name] = entry
        print(f"{name}: {json.dumps(entry)}", flush=True)
        self._write()

    def _write(self) -> None:
        from serving.files import replace_json

        replace_json(FlowSettings().home.parent / "loop.json", self.entries)


def _seconds(seconds: float, how: str) -> dict[str, Any]:
    return figure(round(seconds, 2), "s", how)
