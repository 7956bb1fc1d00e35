"""The feedback component as seldon-core serves it, a process of its own beside a lake."""

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from feature_repo.schema import RATING_SCALE
from monitoring.log_entries import FEEDBACK
from monitoring.prediction_log import (
    Feedback,
    Prediction,
    PredictionLog,
    join_feedback,
    read_feedback,
    read_predictions,
)
from serving import api_keys, feedback_server
from serving.arms import prediction_log_reader
from serving.envoy import FEEDBACK_PATH
from serving.feedback_server import FeedbackInstallationError, check_installation
from serving.ports import find_free
from serving.settings import CHECKOUT, ServingSettings

pytestmark = pytest.mark.slow
PATIENCE = 60
"""Seconds until a component that should answer counts as dead."""

CRDS = CHECKOUT.parent / "shared" / "crds"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@contextmanager
def component(settings: ServingSettings) -> Iterator[httpx.Client]:
    port = find_free(set())
    process = subprocess.Popen(
        feedback_server.command(settings, port),
        env=os.environ | feedback_server.environment(settings),
        cwd=CHECKOUT,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
            deadline = time.monotonic() + PATIENCE
            while not is_alive(client):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def is_alive(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ping").is_success
    except httpx.TransportError:
        return False


def serve(settings: ServingSettings, **predictors: str) -> None:
    """Log an answer of two rentals by the given predictor for each request."""
    with PredictionLog(settings.lake) as log:
        for request_id, predictor in predictors.items():
            shown = (["r1", "r2"], [2.0, 1.0], [4.0, 3.0])
            now = datetime.now(UTC)
            log.record(
                Prediction(
                    request_id, f"user-of-{request_id}", "m", "1", predictor, True, {}, *shown, 1.0, now
                )
            )


def tell(settings: ServingSettings, *feedback: tuple[str, str, float | None]) -> None:
    """Log feedback as the API does."""
    with PredictionLog(settings.lake) as log:
        for request_id, rental_id, rating in feedback:
            log.feedback(Feedback(request_id, "u", rental_id, rating, datetime.now(UTC)))


def message(request_id: str, reward: Any, rental_id: str | None = None) -> dict[str, Any]:
    truth = {"truth": {"data": {"ndarray": [[rental_id]]}}} if rental_id else {}
    return {"response": {"meta": {"puid": request_id}}, "reward": reward, **truth}


def send(client: httpx.Client, *arguments: Any) -> dict[str, Any]:
    response = client.post(FEEDBACK_PATH, json=message(*arguments))
    assert response.status_code == 200, response.text
    return dict(response.json()["meta"])


def refusal(client: httpx.Client, status: int, **arguments: Any) -> str:
    response = client.request(**{"method": "POST", "url": FEEDBACK_PATH, **arguments})
    assert response.status_code == status, response.text
    return str(response.json()["status"]["info"])


def rewards(client: httpx.Client) -> dict[str, tuple[float, float]]:
    """Count and sum of rewards by predictor, as Prometheus reads them."""
    found: dict[str, dict[str, float]] = {}
    for line in client.get("/metrics").raise_for_status().text.splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("{")
            labels, _, value = rest.partition("} ")
            predictor = dict(part.split("=") for part in labels.split(","))["predictor_name"].strip('"')
            found.setdefault(predictor, {})[name] = float(value)
    return {
        predictor: (
            values["seldon_api_model_feedback_total"],
            pytest.approx(values["seldon_api_model_feedback_reward_total"]),
        )
        for predictor, values in found.items()
    }


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServingSettings, httpx.Client]]:
    """A component, and a lake with one answer ``known`` to which nothing was said."""
    settings = ServingSettings(home=tmp_path_factory.mktemp("feedback") / "a home")
    serve(settings, known="v3")
    with component(settings) as client:
        yield settings, client


def test_a_reward_reaches_the_lake_joined_to_its_answer(settings: ServingSettings) -> None:
    serve(settings, q1="v3", q2="v4")
    with component(settings) as client:
        assert send(client, "q1", 0.75, "r2") == {"puid": "q1", "tags": {"predictor": "v3"}}
        send(client, "q2", 0.9)

    feedback = read_feedback(settings.lake)
    assert feedback["user_id"].tolist() == ["user-of-q1", "user-of-q2"]
    joined = join_feedback(read_predictions(settings.lake), feedback).set_index("request_id")
    assert joined["rating"].tolist() == [4.0, 4.6]
    assert joined["predictor"].tolist() == ["v3", "v4"]
    assert joined.loc["q1", ["rental_id", "position", "score"]].tolist() == ["r2", 1, 1.0]
    assert joined.loc["q2", ["rental_id", "position"]].isna().all()


def test_rewards_are_counted_by_the_predictor_that_answered(settings: ServingSettings) -> None:
    serve(settings, q1="v3", q2="v4", q3="v4")
    with component(settings) as client:
        assert rewards(client) == {}
        send(client, "q1", 0.5)
        send(client, "q2", 1)
        send(client, "q3", 0)

        assert rewards(client) == {"v3": (1, 0.5), "v4": (2, 1)}


def test_what_the_api_logs_is_counted_as_well(settings: ServingSettings) -> None:
    serve(settings, q1="v3", q2="v4")
    with component(settings) as client:
        tell(settings, ("q1", "r1", 2.0), ("q2", "r1", None), ("unknown", "r1", 5.0))

        assert rewards(client) == {"v3": (1, 0.25), "v4": (1, 1)}


def test_the_same_feedback_counts_once_by_whatever_way_and_after_a_restart(settings: ServingSettings) -> None:
    serve(settings, q1="v3")
    for _ in range(2):
        with component(settings) as client:
            send(client, "q1", 0.75, "r1")
            send(client, "q1", 0.75, "r1")
            tell(settings, ("q1", "r2", 5.0))

            assert rewards(client) == {"v3": (2, 1.75)}

    assert sorted(read_feedback(settings.lake)["rating"]) == [4.0, 5.0]
    # Whatever comes is written, and read once.
    assert len(list((settings.lake / "feedback").glob("*/*.parquet"))) == 6


def test_what_was_said_last_is_in_the_lake_though_it_was_said_before(settings: ServingSettings) -> None:
    serve(settings, q1="v3")
    with component(settings) as client:
        for reward in (1.0, 0.25, 0.25, 1.0):
            send(client, "q1", reward, "r1")
    told = read_feedback(settings.lake).sort_values("timestamp")
    assert told["rating"].iloc[-1] == 5.0


def test_what_came_while_nothing_ran_is_counted_at_the_next_start(settings: ServingSettings) -> None:
    with component(settings) as client:
        assert rewards(client) == {}
    for days in range(4):
        day = datetime.now(UTC) - timedelta(days=days)
        with PredictionLog(settings.lake) as log:
            log.record(Prediction(f"q{days}", "u", "m", "1", "v3", True, {}, [], [], [], 1.0, day))
            log.feedback(Feedback(f"q{days}", "u", "r1", 5.0, day))

    with component(settings) as client:
        assert rewards(client) == {"v3": (4, 4)}


def test_the_lake_is_followed_though_nobody_asks(settings: ServingSettings) -> None:
    def indexed() -> list[tuple[str]]:
        with closing(sqlite3.connect(settings.lake / "rewards.db")) as ledger:
            return ledger.execute("SELECT predictor FROM answers").fetchall()

    with component(settings):
        serve(settings, q1="v3")
        deadline = time.monotonic() + PATIENCE
        while indexed() != [("v3",)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_of_different_feedback_to_a_rental_the_best_counts(settings: ServingSettings) -> None:
    serve(settings, q1="v3")
    with component(settings) as client:
        for reward in (0.25, 0.5, 0):
            send(client, "q1", reward, "r1")

        assert rewards(client) == {"v3": (1, 0.5)}


def test_feedback_just_after_its_answer_waits_for_the_answer_to_be_logged(settings: ServingSettings) -> None:
    with component(settings) as client, PredictionLog(settings.lake) as log:
        shown = ([], [], [])
        log.record(Prediction("q1", "u1", "m", "1", "v3", True, {}, *shown, 1.0, datetime.now(UTC)))
        send(client, "q1", 1)


def test_an_answer_that_failed_is_none_to_reward(settings: ServingSettings) -> None:
    with PredictionLog(settings.lake) as log:
        for request_id, predictor, ok in (("q1", "v3", True), ("q1", "v4", False), ("q2", "v4", False)):
            shown, now = ([], [], []), datetime.now(UTC)
            log.record(Prediction(request_id, "u", "m", "1", predictor, ok, {}, *shown, 1.0, now))
    with component(settings) as client:
        assert send(client, "q1", 1)["tags"] == {"predictor": "v3"}
        assert "no answer has the id 'q2'" in refusal(client, 404, json=message("q2", 1))


def test_the_canary_decision_sees_rewards_once(settings: ServingSettings) -> None:
    serve(settings, q1="v3", q2="v4", q3="v4")
    with component(settings) as client:
        for _ in range(2):
            send(client, "q2", 1)
            send(client, "q3", 0.5)

    champion, canary = prediction_log_reader(settings)("v3", "v4", LONG_AGO)
    assert (champion.hits, champion.trials, canary.hits, canary.trials) == (0, 1, 1, 2)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, message("nobody's", 1), 'no answer has the id "nobody\'s"'),
        (400, message("known", 1.01), "reward: must be from 0 to 1, got 1.01"),
        (400, message("known", -0.5), "reward: must be from 0 to 1, got -0.5"),
        (400, message("known", "NaN"), "reward: must be from 0 to 1, got nan"),
        (400, message("known", "good"), "reward"),
        (400, message("known", 1e300), "reward"),
        (400, message("", 1), "response.meta.puid: missing"),
        (400, {"reward": 1}, "response.meta.puid: missing"),
        (400, message("q" * 129, 1), "at most 128 characters, got 129"),
        (400, {**message("known", 1), "request": {"meta": {"puid": "other"}}}, "puid differ"),
        (400, message("known", 1, "r" * 129), "truth: must have at most 128 characters"),
        (400, {**message("known", 1), "truth": {"data": {"ndarray": [[1]]}}}, "truth: must be the rental"),
        (400, {**message("known", 1), "truth": {"data": {"ndarray": []}}}, "truth: must be the rental"),
        (400, {**message("known", 1), "truth": {"jsonData": "r1"}}, "truth: must be the rental"),
        (400, {**message("known", 1), "rewrd": 1}, 'no field named "rewrd"'),
        (400, [message("known", 1)], "must be a Feedback message"),
    ],
)
def test_a_message_that_cannot_count_is_refused_with_the_reason(
    fed: tuple[ServingSettings, httpx.Client], status: int, body: Any, said: str
) -> None:
    settings, client = fed

    content, headers = json.dumps(body), {"Content-Type": "application/json"}
    assert said.replace('"', "") in refusal(client, status, content=content, headers=headers).replace('"', "")
    assert read_feedback(settings.lake).empty and rewards(client) == {}


@pytest.mark.parametrize(
    ("status", "request_", "said"),
    [
        (400, {"content": b"hello"}, "cannot be read"),
        (400, {"content": b"\xff"}, "cannot be read"),
        (400, {"content": b"[" * 50_000}, "cannot be read"),
        (400, {"content": b'{"truth": {"jsonData": ' + b"[" * 900 + b"]" * 900 + b"}}"}, "cannot be read"),
        (413, {"content": b" " * 100_001}, "larger than 100000 bytes"),
        (411, {"content": iter([b"{}"])}, "Content-Length"),
        (415, {"data": {"json": "{}"}, "headers": {}}, "send JSON"),
        (400, {"params": {"json": "{}"}, "content": b"{}"}, "parameters of the address"),
        (403, {"content": b"{}", "headers": {"Origin": "http://elsewhere"}}, "web pages"),
        (403, {"method": "OPTIONS", "headers": {"Origin": "http://elsewhere"}}, "web pages"),
        (405, {"method": "GET"}, "POST"),
        (405, {"method": "GET", "url": "/send-feedback", "params": {"json": "{}"}}, "POST"),
        (404, {"method": "GET", "url": "/nowhere"}, "not found"),
    ],
)
def test_a_request_that_is_no_message_is_refused_with_the_reason(
    fed: tuple[ServingSettings, httpx.Client], status: int, request_: dict[str, Any], said: str
) -> None:
    headers = {"Content-Type": "application/json"}

    assert said in refusal(fed[1], status, **{"headers": headers, **request_})


def test_feedback_asks_for_a_key_of_the_api_once_there_is_one(settings: ServingSettings) -> None:
    serve(settings, q1="v3")
    key = api_keys.create(settings.api_keys)
    with component(settings) as client:
        assert "python -m serving key" in refusal(client, 401, json=message("q1", 1))
        headers = {"Authorization": f"Bearer {key}x"}
        refusal(client, 401, json=message("q1", 1), headers=headers)

        client.headers["Authorization"] = f"Bearer {key}"
        send(client, "q1", 1)


def test_a_damaged_file_of_the_lake_costs_no_other(settings: ServingSettings) -> None:
    serve(settings, q1="v3")
    day = next((settings.lake / "predictions").iterdir())
    (day / "0-damaged.parquet").write_bytes(b"PAR1")
    with component(settings) as client:
        send(client, "q1", 1)
        assert rewards(client) == {"v3": (1, 1)}


def test_what_the_component_knows_of_the_lake_is_what_the_other_rooms_say(
    feedback_lake: Callable[[], Any],
) -> None:
    lake = feedback_lake()

    assert lake["schema"] == [str(field) for field in FEEDBACK]
    assert lake["scale"] == list(RATING_SCALE)


@pytest.fixture
def feedback_lake(settings: ServingSettings) -> Callable[[], Any]:
    """What ``serving.feedback.lake`` says in its own environment."""
    question = (
        "import json; from serving.feedback import lake; print(json.dumps({'schema': "
        "[str(field) for field in lake.SCHEMA], 'scale': [lake.LOWEST_RATING, lake.HIGHEST_RATING]}))"
    )

    def ask() -> Any:
        command = [settings.feedback_python, "-c", question]
        return json.loads(subprocess.run(command, capture_output=True, check=True, cwd=CHECKOUT).stdout)

    return ask


@pytest.mark.skipif(not CRDS.is_dir(), reason="../shared/crds is not there")
def test_its_manifest_for_a_cluster_passes_the_crd() -> None:
    definition = yaml.safe_load(next(CRDS.glob("seldondeployments.*.yaml")).read_text())
    (version,) = definition["spec"]["versions"]
    deployment = yaml.safe_load((CHECKOUT / "serving" / "feedback" / "deployment.yaml").read_text())

    jsonschema.validate(deployment, version["schema"]["openAPIV3Schema"])
    (predictor,) = deployment["spec"]["predictors"]
    (container,) = predictor["componentSpecs"][0]["spec"]["containers"]
    assert container["name"] == predictor["graph"]["name"]
    assert container["command"][0] == "gunicorn" and container["command"][-1] == feedback_server.APPLICATION


def test_an_environment_that_is_absent_is_told_with_the_remedy(
    settings: ServingSettings, tmp_path: Path
) -> None:
    absent = settings.model_copy(update={"feedback_python": tmp_path / "bin" / "python"})

    with pytest.raises(FeedbackInstallationError, match="make setup"):
        check_installation(absent)
