"""How fast and how steady serving is: `python -m flows bench-serving --data FILE`, in a home of its own.

All parts are real, on this machine: Feast's online store, the model that the flows train, Triton behind
Envoy, the API. The clients run on the same cores.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.figures import figure
from flows.load_generator import Question, loading, measure
from flows.parameters import BASELINES
from flows.runs import start
from flows.story import story_of

if TYPE_CHECKING:
    from serving.components import RuntimeState

USERS = 2_000
"""People who ask, each with the purpose of a rental; the latest of the lake."""

REQUESTS, CROWD = 3_000, 8
"""Requests of one measurement, and clients at a time where there are many."""

TRITON = ((1, 1, 0), (2, 1, 0), (1, 2, 0), (2, 2, 0), (1, 1, 500), (1, 1, 2_000))
"""Instances of a model, threads of each, and microseconds to wait for a batch; the first are the defaults."""

SHARES = (1, 5, 25, 50)
"""Percent that a canary gets; each is measured by ``COUNTED`` users."""

COUNTED = 20_000

CHANGED_REQUESTS = 20_000
"""Requests that must not fail while the weights change all the time."""


class ServingBenchmarkError(RuntimeError):
    """There is nothing to measure; the message names the remedy."""


def benchmark(data: str) -> dict[str, Any]:
    """Measure, and write ``serving.json`` beside the home.

    Args:
        data: path of a source's file; empty for the generator.
    """
    from serving import runtime
    from serving.settings import ServingSettings

    bench = _prepare(data)
    file = bench.settings.home.parent / "serving.json"
    entries: dict[str, Any] = {}
    try:
        for measured in (
            bench.recommend,
            bench.predictors,
            bench.triton_settings,
            bench.measured_share,
            bench.weight_change,
            bench.kill_recovery,
            bench.rollback,
        ):
            for name, entry in measured().items():
                entries[name] = entry
                print(f"{name}: {json.dumps(entry)}", flush=True)
                file.write_text(json.dumps(entries, indent=2) + "\n")
    finally:
        runtime.down(ServingSettings())
    return entries


class _Bench:
    """The served system and the people who ask."""

    def __init__(self, version: int) -> None:
        from models.registry import Registry
        from models.sabotage import corrupt
        from serving import triton
        from serving.envoy import seldon_prefix
        from serving.settings import ServingSettings

        self.settings = ServingSettings()
        self.model = Registry().get(version).path
        damaged = corrupt(self.model, self.settings.home / "damaged" / "model.onnx")
        self.champion, self.twin, self.damaged = (f"v{version + n}" for n in range(3))
        for name, file in ((self.champion, self.model), (self.twin, self.model), (self.damaged, damaged)):
            triton.write_repository(file, name, self.settings)
        self.state = self.serve({self.champion: 100})
        prefix = seldon_prefix(self.settings.namespace, self.settings.deployment_name)
        self.gateway_path = f"{prefix}v2/models/{self.settings.model_name}"
        ratings = lake.read(FeatureSettings().lake, "ratings").sort_values("event_timestamp")
        people = ratings.drop_duplicates("user_id", keep="last").tail(USERS)
        self.people = list(zip(people["user_id"], people["purpose"].fillna(""), strict=True))

    def serve(self, weights: dict[str, int]) -> "RuntimeState":
        """Route by these weights."""
        from serving import manifest, runtime

        return runtime.apply(manifest.render(weights, self.settings), self.settings)

    def recommend(self) -> dict[str, Any]:
        """The API as a whole, beside the model and the store alone."""
        one, crowd = (
            measure(self.state.api_url, self._recommendation, clients, REQUESTS) for clients in (1, CROWD)
        )
        bare = self._bare()
        return {
            "recommend": {
                "value": {"1 client": one, f"{CROWD} clients": crowd},
                "unit": "milliseconds, requests/s",
                "baseline": bare,
                "ratio": round(one["p50_ms"] / bare["p50_ms"], 2),
                "how": f"GET /users/…/recommendations?k=10 of {len(self.people):,} users, {REQUESTS:,} "
                "requests; the baseline, without any server: SELECT of the user's and the purpose's packed "
                "rows, not decoded, and ONNX Runtime on one thread",
            }
        }

    def predictors(self) -> dict[str, Any]:
        """One inference over HTTP: of Triton itself, and through Envoy."""
        port = self.state.predictors[self.champion].http
        direct = measure(
            f"http://127.0.0.1:{port}", self._inference(f"/v2/models/{self.settings.model_name}"), 1, REQUESTS
        )
        through = measure(self.state.gateway_url, self._inference(self.gateway_path), 1, REQUESTS)
        how = f"one user's 100 best rentals with reasons, binary tensors, 1 client, {REQUESTS:,} requests"
        return {
            "triton_direct": figure(direct, "ms", how),
            "triton_through_envoy": {
                "value": through,
                "unit": "ms",
                "baseline": direct,
                "ratio": round(through["p50_ms"] / direct["p50_ms"], 2),
                "how": how,
            },
        }

    def triton_settings(self) -> dict[str, Any]:
        """One inference through Envoy by the settings of Triton: why the defaults are what they are."""
        from serving import triton

        found: dict[str, Any] = {}
        for instances, threads, delay in TRITON:
            wanted = {"instances": instances, "threads": threads, "batch_delay": delay}
            tried = self.settings.model_copy(update={f"triton_{name}": n for name, n in wanted.items()})
            # A predictor reads its configuration when it starts.
            self.state = self.serve({self.champion: 100})
            triton.write_repository(self.model, self.twin, tried)
            self.state = self.serve({self.twin: 100})
            found[f"{instances} instances, {threads} threads, {delay} µs"] = {
                f"{clients} clients": measure(
                    self.state.gateway_url, self._inference(self.gateway_path), clients, REQUESTS
                )
                for clients in (1, CROWD)
            }
        triton.write_repository(self.model, self.twin, self.settings)
        how = f"as triton_through_envoy, {REQUESTS:,} requests each"
        return {"triton_settings": figure(found, "ms, requests/s", how)}

    def measured_share(self) -> dict[str, Any]:
        """The share of users that a canary gets, by the answers' header."""
        import httpx

        from serving.envoy import PREDICTOR_HEADER, USER_HEADER

        found = {}
        for share in SHARES:
            self.state = self.serve({self.champion: 100 - share, self.twin: share})
            with httpx.Client(base_url=self.state.gateway_url, trust_env=False) as client:
                answers = [
                    client.get(f"{self.gateway_path}/ready", headers={USER_HEADER: f"person {n}"})
                    for n in range(COUNTED)
                ]
            canary = [answer.headers[PREDICTOR_HEADER] == self.twin for answer in answers]
            found[f"{share} %"] = round(100 * float(np.mean(canary)), 2)
        how = f"{COUNTED:,} users at each weight, one request each, told by the answer's header"
        return {"measured_share": figure(found, "%", how)}

    def weight_change(self) -> dict[str, Any]:
        """Requests that fail while the weights change all the time."""
        changes, shares = 0, (10, 50, 90, 25)
        with loading(self.state.gateway_url, self._inference(self.gateway_path), 2) as load:
            while len(load.statuses) < CHANGED_REQUESTS:
                share = shares[changes % len(shares)]
                # A canary comes, grows, and leaves with its process.
                weights = {self.champion: 100 - share, self.twin: share}
                self.state = self.serve(weights if changes % 5 else {self.champion: 100})
                changes += 1
        failed = sum(status != 200 for status in load.statuses)
        return {
            "weight_change_failed_requests": figure(
                failed,
                "requests",
                f"of {len(load.statuses):,} inferences through Envoy by 2 clients, {changes} changes",
            )
        }

    def kill_recovery(self) -> dict[str, Any]:
        """From kill -9 of a predictor's process to its next answer, under load."""
        from serving.envoy import PREDICTOR_HEADER
        from serving.status import status

        self.state = self.serve({self.champion: 50, self.twin: 50})
        pid = next(one.pid for one in status(self.settings).predictors if one.name == self.twin)
        if pid is None:
            raise ServingBenchmarkError(f"{self.twin} does not run; see its log below the home's logs")
        pinned = self._inference(self.gateway_path, {PREDICTOR_HEADER: self.twin})
        with (
            loading(self.state.api_url, self._recommendation, 2) as users,
            loading(self.state.gateway_url, pinned, 1) as load,
        ):
            _until(lambda: len(load.statuses) > REQUESTS // 10)
            began, before = time.perf_counter(), len(load.statuses)
            os.kill(pid, signal.SIGKILL)
            _until(lambda: any(status != 200 for status in load.statuses[before:]))
            first = before + next(n for n, status in enumerate(load.statuses[before:]) if status != 200)
            _until(lambda: 200 in load.statuses[first:])
            seconds = time.perf_counter() - began
        failed = sum(status != 200 for status in users.statuses)
        return {
            "kill_recovery_seconds": figure(
                round(seconds, 2),
                "seconds",
                f"kill -9 of one of two Tritons until it answers again; of {len(users.statuses):,} "
                f"requests of the API's users meanwhile {failed} failed",
            )
        }

    def rollback(self) -> dict[str, Any]:
        """From the first wrong answer of a damaged version to Envoy without it."""
        from monitoring.prediction_log import read_predictions
        from serving.rollout import rollout

        self.state = self.serve({self.champion: 100})
        began = datetime.now(UTC)
        with loading(self.state.api_url, self._recommendation, 2) as users:
            outcome = rollout(self.damaged, self.settings, (10, 100))
            ended = datetime.now(UTC)
        logged = read_predictions(self.settings.lake, began)
        wrong = logged[(logged["predictor"] == self.damaged) & ~logged["ok"].astype(bool)]
        if outcome.promoted or wrong.empty:
            raise ServingBenchmarkError(f"the damaged version was not found out: {outcome.reasons}")
        first = wrong["timestamp"].min()
        failed = sum(status != 200 for status in users.statuses)
        return {
            "rollback_seconds": figure(
                round((ended - first.to_pydatetime()).total_seconds(), 2),
                "seconds",
                f"a version of NaN at 10 %: {len(wrong)} wrong answers, replaced by the champion's;"
                f" of {len(users.statuses):,} requests {failed} failed",
            )
        }

    def _recommendation(self, number: int) -> Question:
        user_id, purpose = self.people[number % len(self.people)]
        path = f"/users/{quote(user_id, safe='')}/recommendations?k=10"
        return Question("GET", path + (f"&purpose={quote(purpose)}" if purpose else ""))

    def _inference(self, path: str, pin: dict[str, str] | None = None) -> Callable[[int], Question]:
        from feature_repo.store import OnlineFeatures
        from serving.answers import model_inputs
        from serving.envoy import USER_HEADER
        from serving.inference_protocol import encode_request

        online = OnlineFeatures(FeatureSettings())
        asked = []
        for user_id, purpose in self.people:
            body, headers = encode_request(
                model_inputs(user_id, purpose, None, online.user(user_id, purpose))
            )
            named = headers | {USER_HEADER: quote(user_id, safe="")} | (pin or {})
            asked.append(Question("POST", f"{path}/infer", body, named))
        return lambda number: asked[number % len(asked)]

    def _bare(self) -> dict[str, float]:
        """Milliseconds of the store's rows and the model's answer, without anything around them."""
        from feature_repo.store import OnlineFeatures
        from models.inference import inputs_of, open_session
        from serving.answers import model_inputs

        online, session = OnlineFeatures(FeatureSettings()), open_session(self.model, threads=1)
        names = [output.name for output in session.get_outputs()]
        read = _raw_reader()
        seconds = []
        for user_id, purpose in self.people:
            row = model_inputs(user_id, purpose, None, online.user(user_id, purpose))
            inputs = inputs_of(session, [row])
            began = time.perf_counter()
            read(user_id, purpose)
            session.run(names, inputs)
            seconds.append(time.perf_counter() - began)
        return {f"p{q}_ms": round(float(np.quantile(seconds, q / 100)) * 1000, 3) for q in (50, 99)}


def _prepare(data: str) -> _Bench:
    """Train a model in the benchmark's home, and serve it with a twin and a damaged one in wait."""
    until = f"{story_of(data).first:%Y-%m-%d}"
    start("features", data=data, until=until)
    run = start("train", until=until, against=BASELINES, reason="benchmark of serving")
    version = run.data.version
    if version is None:
        raise ServingBenchmarkError(f"nothing can be served: {run.data.gated.decision}")
    return _Bench(version)


def _raw_reader() -> Callable[[str, str], Sequence[Any]]:
    """SELECTs of the packed rows that a recommendation reads, by SQLite alone."""
    import sqlite3

    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    connection = sqlite3.connect(FeatureSettings().home / "feast" / "online.db")
    queries = {
        view: f'SELECT value FROM "{table}" WHERE key = ?'  # noqa: S608 - tables of the store itself
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for view in ("user_features", "purpose_features")
        if table.endswith(f"/{view}")
    }

    def rows(view: str, name: str, value: str) -> Sequence[Any]:
        key = EntityKey(join_keys=[name], entity_values=[Value(string_val=value)])
        return connection.execute(queries[view], [serialize_entity_key(key, 3)]).fetchall()

    def read(user_id: str, purpose: str) -> Sequence[Any]:
        return [*rows("user_features", "user_id", user_id), *rows("purpose_features", "purpose", purpose)]

    return read


def _until(happened: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise ServingBenchmarkError("the predictor has not come back; see its log below the home's logs")
        time.sleep(0.005)
