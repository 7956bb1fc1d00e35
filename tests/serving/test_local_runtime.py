"""The whole room with its real parts: supervisord, Triton, Envoy, the API, the client and rollouts."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
import uvicorn
from fastapi.testclient import TestClient

from monitoring.prediction_log import join_feedback, read_feedback, read_predictions
from serving import api_keys, components, runtime
from serving.__main__ import main
from serving.answers import model_inputs
from serving.api import create_app
from serving.client import AsyncRecommenderClient, RecommenderClient, RecommenderError
from serving.components import RuntimeState
from serving.decision import Arm
from serving.decision_log import DecisionLog
from serving.envoy import PREDICTOR_HEADER, USER_HEADER
from serving.inference_protocol import decode_response, encode_request
from serving.manifest import ManifestError, render, save
from serving.messages import Pair
from serving.ports import HOST, PortTakenError, find_free
from serving.processes import find_marked
from serving.rollout import rollout
from serving.settings import DecisionThresholds, ServingSettings
from serving.status import status
from serving.supervision import SupervisionError, Supervisor
from serving.triton import write_repository

MODEL_PATH = "/seldon/rentals/rentals/v2/models/rental-recommender"
FEEDBACK_PATH = "/seldon/rentals/rentals/api/v1.0/feedback"
pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).resolve().parents[2]
FUZZ = [
    Path(sys.executable).with_name("schemathesis"),
    *("--config-file", CHECKOUT / "schemathesis.toml", "run", "--no-color"),
]
PATIENCE = 60
"""Seconds until something that must happen counts as not happening."""


@pytest.fixture
def recommender(
    served: ServingSettings, apply: Callable[..., RuntimeState], exported_recommender: Path
) -> RuntimeState:
    """Version 6, a recommender as the flows export it, serves everybody."""
    write_repository(exported_recommender, 6, served)
    return apply({"v6": 100})


def eventually(happened: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (result := happened()):
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)
    return result


def predictors_of(state: RuntimeState, users: list[str], **headers: str) -> list[str]:
    """The predictor which answers each user."""
    with httpx.Client(base_url=state.gateway_url, trust_env=False) as client:

        def ask(user: str) -> str:
            response = client.get(f"{MODEL_PATH}/ready", headers={USER_HEADER: user, **headers})
            return response.raise_for_status().headers[PREDICTOR_HEADER]

        return [ask(user) for user in users]


def infer(state: RuntimeState, users: list[str], client: httpx.Client | None = None) -> httpx.Response:
    """Ask the model itself for a batch of users, in JSON."""
    inputs = []
    for name, value in model_inputs("", None, None, {}).items():
        text = isinstance(value, str)
        data = users if name == "user_id" else [value if text else 0.0] * len(users)
        datatype = "BYTES" if text else "FP32"
        inputs.append({"name": name, "shape": [len(users), 1], "datatype": datatype, "data": data})
    ask = (client or httpx.Client(trust_env=False)).post
    return ask(f"{state.gateway_url}{MODEL_PATH}/infer", json={"inputs": inputs})


@contextmanager
def load(url: str, threads: int = 4) -> Iterator[list[dict[str, Any]]]:
    """Users who ask the API for as long as the block lasts; gives their answers so far."""
    answers: list[dict[str, Any]] = []
    ended = threading.Event()

    def ask_on(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - users, not secrets
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
            while not ended.is_set():
                response = client.get(f"/users/{chance.randrange(10**6)}/recommendations", params={"k": 3})
                answers.append({"status": response.status_code, **response.json()})

    with ThreadPoolExecutor(threads) as pool:
        users = [pool.submit(ask_on, seed) for seed in range(threads)]
        try:
            yield answers
        finally:
            ended.set()
    for user in users:
        user.result()


@contextmanager
def over_http(app: Any) -> Iterator[str]:
    """The application at an address of its own."""
    port = find_free(set())
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    try:
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def steps(answer: dict[str, Any]) -> list[str]:
    return [each["step"] for each in answer["degraded"]]


def assert_no_failure(answers: list[dict[str, Any]]) -> None:
    assert answers
    assert {answer["status"] for answer in answers} == {200}
    assert not [answer for answer in answers if "other predictor" in steps(answer)]


def test_the_weights_of_the_manifest_are_measured_at_the_gateway(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 90, "v4": 10})
    gateway = runtime.open_gateway(state, served)
    before = gateway.stats(["v3", "v4"])

    users = [f"user-{number}" for number in range(2000)]
    counted = Counter(predictors_of(state, users))
    predictors_of(state, users[:50], **{PREDICTOR_HEADER: "v4"})

    assert counted["v4"] / len(users) == pytest.approx(0.1, abs=0.02)
    after = gateway.stats(["v3", "v4"])
    assert {name: after[name].weighted - before[name].weighted for name in after} == counted
    assert after["v4"].pinned - before["v4"].pinned == 50


def test_a_user_stays_with_a_predictor_while_its_share_grows(apply: Callable[..., RuntimeState]) -> None:
    users = [f"user-{number}" for number in range(500)]
    served_by = [
        dict(zip(users, predictors_of(apply({"v3": 100 - share, "v4": share}), users), strict=True))
        for share in (10, 10, 25)
    ]

    assert served_by[0] == served_by[1]
    canary_users = {user for user, predictor in served_by[0].items() if predictor == "v4"}
    assert canary_users and {served_by[2][user] for user in canary_users} == {"v4"}
    assert list(served_by[2].values()).count("v4") > len(canary_users)


def test_each_canary_meets_other_users(apply: Callable[..., RuntimeState]) -> None:
    users = [f"user-{number}" for number in range(1000)]
    met = [
        {user for user, name in zip(users, predictors_of(state, users), strict=True) if name == canary}
        for canary in ("v4", "v5")
        if (state := apply({"v3": 75, canary: 25}))
    ]

    assert [len(each) / len(users) for each in met] == pytest.approx([0.25, 0.25], abs=0.06)
    assert len(met[0] & met[1]) / len(met[0]) == pytest.approx(0.25, abs=0.1), "as chance has it"


def test_a_header_pins_a_predictor(apply: Callable[..., RuntimeState]) -> None:
    state = apply({"v3": 90, "v4": 10})
    users = [f"user-{number}" for number in range(20)]

    for predictor in ("v3", "v4"):
        assert set(predictors_of(state, users, **{PREDICTOR_HEADER: predictor})) == {predictor}


def test_a_shadow_gets_a_copy_and_answers_nobody(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 100}, shadow="v4")
    gateway = runtime.open_gateway(state, served)
    before = gateway.stats(["v4"])["v4"].requests

    assert set(predictors_of(state, [f"user-{number}" for number in range(20)])) == {"v3"}
    eventually(lambda: gateway.stats(["v4"])["v4"].requests - before == 20)


def test_the_same_manifest_again_changes_nothing(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    first = apply({"v3": 90, "v4": 10})
    # Supervisord calls a process a starting one for its first seconds, however soon it answers.
    eventually(lambda: {one.state for one in status(served).components} == {"RUNNING"})
    running = status(served).components

    assert apply({"v3": 90, "v4": 10}) == first
    assert status(served).components == running


def test_weights_change_under_load_without_a_failed_request(apply: Callable[..., RuntimeState]) -> None:
    state = apply({"v3": 100})
    with load(state.api_url) as answers:
        for weights in (
            {"v3": 90, "v4": 10},
            {"v3": 50, "v4": 50},
            {"v4": 100},
            {"v4": 90, "v3": 10},
            {"v3": 100},
        ):
            apply(weights)
            seen = len(answers)
            eventually(lambda seen=seen: len(answers) > seen + 50)

    assert_no_failure(answers)
    assert {answer["predictor"] for answer in answers} == {"v3", "v4"}
    assert {answer["predictor"] for answer in answers[-10:]} == {"v3"}


def test_a_batch_is_answered_and_text_survives(apply: Callable[..., RuntimeState]) -> None:
    state = apply({"v3": 100})

    response = infer(state, ["u0", "Zoë", "x" * 128]).raise_for_status()

    outputs = decode_response(response.content, response.headers)
    assert outputs["rental_id"].shape == (3, 20)
    assert outputs["score"][1, 0] - outputs["score"][0, 0] == pytest.approx(0.2, abs=1e-5)
    assert set(outputs["rental_id"][0]) == {f"r{index}" for index in range(20)}


def test_requests_that_come_together_get_each_its_own_answer(apply: Callable[..., RuntimeState]) -> None:
    state = apply({"v3": 100})
    asked = [["u0"], ["u1", "x"], ["x"], ["x", "u0", "u1"], ["u1"]]

    def scores(users: list[str]) -> list[list[float]]:
        response = infer(state, users).raise_for_status()
        return decode_response(response.content, response.headers)["score"].tolist()

    alone = [scores(users) for users in asked]
    with ThreadPoolExecutor(10) as pool:
        together = list(pool.map(scores, asked * 20))

    assert together == alone * 20


def test_an_error_of_one_request_is_only_its_own(apply: Callable[..., RuntimeState]) -> None:
    state = apply({"v3": 100})
    body, headers = encode_request(model_inputs("u0", None, None, {}))
    broken = body.replace(struct.pack("<I", 2) + b"u0", struct.pack("<I", 2) + b"\xff\xfe")

    def ask(content: bytes) -> httpx.Response:
        url = f"{state.gateway_url}{MODEL_PATH}/infer"
        return httpx.post(url, content=content, headers=headers, trust_env=False)

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(ask, [body, broken] * 20))

    assert {response.status_code for response in responses[::2]} == {200}
    assert all("UnicodeDecodeError" in response.json()["error"] for response in responses[1::2])


def test_recommendations_for_a_known_and_an_unknown_user(
    served: ServingSettings, apply: Callable[..., RuntimeState], memory_features: Any
) -> None:
    apply({"v3": 100})
    with TestClient(create_app(served, memory_features)) as api:
        known = api.get("/users/u0/recommendations", params={"k": 5, "purpose": "wedding"}).json()
        unknown = api.get("/users/nobody%20%2F%E2%82%AC/recommendations").json()
        assert api.get("/readyz").json() == {"ready": True, "degraded": None, "weights": {"v3": 100}}

    assert (known["model_version"], known["predictor"], known["degraded"]) == ("3", "v3", [])
    assert not known["cold_start"] and unknown["cold_start"]
    assert unknown["user_id"] == "nobody /€"
    assert [len(known["items"]), len(unknown["items"])] == [5, 10]
    assert known["items"][0]["category"] == "gown"
    # Taste .1 and age .5 against .3 and a missing age, which counts as zero.
    assert known["items"][0]["score"] - unknown["items"][0]["score"] == pytest.approx(0.3, abs=1e-5)
    ratings = [item["predicted_rating"] for item in known["items"]]
    assert ratings == sorted(ratings, reverse=True)
    logged = read_predictions(served.lake).set_index("request_id").loc[known["request_id"]]
    assert json.loads(logged["features"])["user_age"] == 0.5
    assert list(logged["rental_ids"]) == [item["rental_id"] for item in known["items"]]


def test_what_is_filtered_out_is_masked_inside_the_served_model(
    served: ServingSettings,
    memory_features: Any,
    recommender: RuntimeState,
) -> None:
    with TestClient(create_app(served, memory_features)) as api:

        def ask(**filters: Any) -> list[str]:
            answer = api.get("/users/u0/recommendations", params={"k": 100, **filters})
            return [item["rental_id"] for item in answer.raise_for_status().json()["items"]]

        everything = ask()
        assert len(everything) == 20
        gowns = [name for name in everything if int(name[1:]) % 2 == 0]
        assert ask(category="gown") == gowns
        assert ask(category=["gown", "suit"], exclude=[*everything[:2], "unknown"]) == everything[2:]
        assert ask(only=gowns[::2], exclude=[gowns[0]]) == gowns[2::2]
        assert ask(category="hat") == ask(exclude=everything) == []
        assert ask(price_from=3, price_to=5.5) == [name for name in everything if name in ("r3", "r4", "r5")]
    with RecommenderClient(recommender.api_url) as client:
        answer = client.recommendations("u0", category="gown", exclude=[gowns[0]])
        assert {item.rental_id for item in answer.items} == set(gowns[1:])
    batch = infer(recommender, ["u0", "u1"]).raise_for_status()
    assert decode_response(batch.content, batch.headers)["rental_id"].shape == (2, 20)


def test_what_the_user_rented_lately_can_be_left_out(
    served: ServingSettings,
    features_of: Callable[..., Any],
    recommender: RuntimeState,
) -> None:
    store = features_of({"u0": {"user_recent_rentals": '["r3", "r4", "gone"]'}})
    with TestClient(create_app(served, store)) as api:

        def ask(**question: Any) -> set[str]:
            answer = api.get("/users/u0/recommendations", params={"k": 100, **question})
            return {item["rental_id"] for item in answer.raise_for_status().json()["items"]}

        assert ask() - ask(exclude_rented=True) == {"r3", "r4"}
        assert ask(exclude_rented=True, only=["r3", "r5"]) == {"r5"}


def test_reasons_come_with_each_recommendation_in_batches_and_filtered(
    served: ServingSettings,
    memory_features: Any,
    recommender: RuntimeState,
) -> None:
    with TestClient(create_app(served, memory_features)) as api:
        answers = [
            api.get("/users/u0/recommendations", params={"purpose": "one", **filters}).json()
            for filters in ({}, {"exclude": "nothing"})
        ]
    plain, filtered = ([item["reasons"] for item in answer["items"]] for answer in answers)
    assert plain == filtered and len(plain) == 10
    for reasons in plain:
        factors = [reason["factor"] for reason in reasons]
        assert 1 <= len(factors) <= 3 and factors == sorted(factors, reverse=True) and factors[-1] > 1


def test_what_a_question_does_not_name_is_no_reason(
    served: ServingSettings, memory_features: Any, recommender: RuntimeState
) -> None:
    with TestClient(create_app(served, memory_features)) as api:
        subjects = [
            {reason["subject"] for item in answer["items"] for reason in item["reasons"]}
            for question in ({"purpose": "one", "size": 8}, {})
            if (answer := api.get("/users/u0/recommendations", params={"k": 50, **question}).json())
        ]
    assert subjects[0] & {"purpose", "size"}
    assert subjects[1] and not subjects[1] & {"purpose", "size"}


def test_ratings_of_pairs_are_those_of_the_recommendations(
    served: ServingSettings,
    memory_features: Any,
    recommender: RuntimeState,
) -> None:
    with TestClient(create_app(served, memory_features)) as api:
        items = api.get("/users/u0/recommendations", params={"k": 3}).json()["items"]
        pairs = [{"user_id": "u0", "rental_id": item["rental_id"]} for item in items]
        other = {"user_id": "nobody", "rental_id": "r3", "purpose": "one"}
        asked = [pairs[0], other, *pairs[1:], {"user_id": "u0", "rental_id": "unknown"}]
        answer = api.post("/ratings:predict", json={"pairs": asked}).raise_for_status().json()

    found = answer["predictions"]
    assert [(one["user_id"], one["rental_id"]) for one in found] == [
        (pair["user_id"], pair["rental_id"]) for pair in asked
    ]
    for name in ("predicted_rating", "score"):
        own = [one[name] for one in (found[0], *found[2:4])]
        assert own == pytest.approx([item[name] for item in items], abs=1e-5)
    assert {one["model_version"] for one in found} == {"6"} and answer["degraded"] == []
    logged = read_predictions(served.lake)
    rows = logged.set_index("request_id")
    for one in found:
        row = rows.loc[one["request_id"]]
        assert row["user_id"] == one["user_id"] and one["rental_id"] in row["rental_ids"]
    assert len({one["request_id"] for one in found}) == 2, "an answer for each user"

    async def by_the_asynchronous_client() -> list[float]:
        async with AsyncRecommenderClient(recommender.api_url) as client:
            answer = await client.predict([Pair(**pair) for pair in asked])
            assert (await client.recommendations("u0", k=2)).items[0].reasons
            return [one.score for one in answer.predictions]

    # The runtime's own API has Feast's store, which knows nobody.
    assert len(asyncio.run(by_the_asynchronous_client())) == len(asked)


def test_no_request_that_the_document_allows_or_forbids_is_an_error_of_ours(
    served: ServingSettings,
    memory_features: Any,
    recommender: RuntimeState,
    tmp_path: Path,
) -> None:
    """`make fuzz` tries ten thousand on what is served; here it is some hundred."""
    key = api_keys.create(served.api_keys)
    with over_http(create_app(served, memory_features)) as url:
        done = subprocess.run(
            [
                *FUZZ,
                "--max-examples",
                "25",
                "--header",
                f"Authorization: Bearer {key}",
                f"{url}/openapi.json",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    served.api_keys.unlink()
    assert done.returncode == 0, done.stdout
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated and int(generated[1]) > 300


def test_a_predictor_that_hangs_is_replaced_by_the_other_one(
    served: ServingSettings, apply: Callable[..., RuntimeState], memory_features: Any
) -> None:
    apply({"v3": 90, "v4": 10})
    hasty = served.model_copy(update={"inference_seconds": 0.5})
    process = next(one.pid for one in status(served).predictors if one.name == "v3")
    assert process
    with TestClient(create_app(hasty, memory_features)) as api:
        os.kill(process, signal.SIGSTOP)
        try:
            answers = [api.get(f"/users/u{number}/recommendations").json() for number in range(5)]
        finally:
            os.kill(process, signal.SIGCONT)
    assert {answer["predictor"] for answer in answers} == {"v4"}
    replaced = [answer for answer in answers if steps(answer) == ["other predictor"]]
    assert replaced and "no answer within 0.5 s" in replaced[0]["degraded"][0]["reason"]


def test_who_asks_too_often_is_refused_whatever_it_says_of_itself(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    limited = served.model_copy(update={"requests_per_minute": 3})
    apply({"v3": 100})
    components.save_state(components.load_state(served), limited)
    state = runtime.apply(render({"v3": 100}, limited), limited)
    with httpx.Client(base_url=state.api_url, trust_env=False) as client:
        headers = [{"X-Forwarded-For": f"10.0.0.{number}"} for number in range(5)]
        statuses = [client.get("/users/u0/recommendations", headers=one).status_code for one in headers]
    runtime.apply(render({"v3": 100}, served), served)
    assert statuses == [200, 200, 200, 429, 429]


def test_filters_on_a_version_that_was_exported_without_them_are_no_answer(
    served: ServingSettings, apply: Callable[..., RuntimeState], memory_features: Any
) -> None:
    apply({"v3": 100})
    with TestClient(create_app(served, memory_features)) as api:
        answer = api.get("/users/u0/recommendations", params={"exclude": "r1"})
        assert api.get("/users/u0/recommendations").status_code == 200
    assert answer.status_code == 503
    assert "rental-recommender-filtered" in answer.json()["detail"]


def test_a_failing_canary_is_covered_by_the_champion_and_counted(
    served: ServingSettings, apply: Callable[..., RuntimeState], memory_features: Any
) -> None:
    apply({"v3": 50, "v5": 50})
    with TestClient(create_app(served, memory_features)) as api:
        answers = [api.get(f"/users/{number}/recommendations").json() for number in range(40)]

    assert {answer["predictor"] for answer in answers} == {"v3"}
    covered = [answer for answer in answers if answer["degraded"]]
    assert covered and all("predictor v5 failed" in answer["degraded"][0]["reason"] for answer in covered)
    logged = read_predictions(served.lake)
    attempts = logged[logged["request_id"] == covered[0]["request_id"]]
    assert dict(zip(attempts["predictor"], attempts["ok"], strict=True)) == {"v5": False, "v3": True}


def test_the_api_that_the_runtime_starts_serves_the_client(apply: Callable[..., RuntimeState]) -> None:
    state = apply({"v3": 100})
    with RecommenderClient(state.api_url) as client:
        answer = client.recommendations("a/b", k=2)
        assert (answer.user_id, answer.predictor, len(answer.items)) == ("a/b", "v3", 2)
        client.feedback(answer.request_id, answer.user_id, answer.items[0].rental_id, rating=5)
        with pytest.raises(RecommenderError, match="less than or equal to 100") as caught:
            client.recommendations("u0", k=1000)
    assert caught.value.status == 422


def rewards(state: RuntimeState) -> dict[str, float]:
    """Sums of rewards by predictor, as Prometheus reads them."""
    metrics = httpx.get(f"{state.feedback_url}/metrics", trust_env=False).raise_for_status().text
    series = re.compile(r'seldon_api_model_feedback_reward_total\{.*predictor_name="(\w+)".*\} (.*)')
    return {predictor: float(value) for predictor, value in series.findall(metrics)}


def send_reward(state: RuntimeState, request_id: str, reward: float, rental_id: str) -> httpx.Response:
    """Send feedback as Seldon's clients do."""
    feedback = {"response": {"meta": {"puid": request_id}}, "reward": reward, "truth": {"strData": rental_id}}
    return httpx.post(f"{state.gateway_url}{FEEDBACK_PATH}", json=feedback, timeout=PATIENCE, trust_env=False)


def test_feedback_by_the_api_and_by_seldon_is_rewarded_to_the_predictor_once(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 50, "v4": 50})
    before = rewards(state)
    with RecommenderClient(state.api_url) as client:
        answers = [client.recommendations(f"user-{number}", k=2) for number in range(20)]
        for answer in answers * 2:
            best, second = (item.rental_id for item in answer.items)
            client.feedback(answer.request_id, answer.user_id, best, rating=5)
            assert send_reward(state, answer.request_id, 0.5, second).json()["meta"]["tags"] == {
                "predictor": answer.predictor
            }

    counted = Counter(answer.predictor for answer in answers)
    assert set(counted) == {"v3", "v4"}
    eventually(
        lambda: (
            # Other predictors of this runtime, which is shared, have got nothing.
            {name: gain for name, value in rewards(state).items() if (gain := value - before.get(name, 0))}
            == {name: 1.5 * count for name, count in counted.items()}
        )
    )
    feedback = read_feedback(served.lake)
    joined = join_feedback(read_predictions(served.lake), feedback)
    joined = joined[joined["request_id"].isin([answer.request_id for answer in answers])]
    assert sorted(joined["rating"]) == [3.0] * 20 + [5.0] * 20
    assert joined.groupby("rating")["position"].unique().to_dict() == {3.0: [1], 5.0: [0]}


def test_a_reward_for_nobodys_answer_is_refused_at_the_gateway(apply: Callable[..., RuntimeState]) -> None:
    response = send_reward(apply({"v3": 100}), "nobody", 1, "r1")

    assert response.status_code == 404
    assert "no answer has the id 'nobody'" in response.json()["status"]["info"]


def test_a_feedback_component_that_is_down_costs_the_api_nothing_and_nothing_is_lost(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 100})
    before = rewards(state).get("v3", 0)
    pid = pid_of_feedback(served)
    os.killpg(pid, signal.SIGSTOP)
    with RecommenderClient(state.api_url) as client:
        answer = client.recommendations("u0", k=1)
        client.feedback(answer.request_id, "u0", answer.items[0].rental_id, rating=5)
    os.killpg(pid, signal.SIGKILL)

    eventually(lambda: pid_of_feedback(served) not in (0, pid))
    apply({"v3": 100})
    eventually(lambda: rewards(state)["v3"] == before + 1)


def test_a_feedback_component_whose_first_process_is_killed_comes_back(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 100})
    before, pid, starts = rewards(state), pid_of_feedback(served), starts_of_feedback(served)
    os.kill(pid, signal.SIGKILL)

    # The second process, which has the port, ends when it misses the first.
    eventually(lambda: starts_of_feedback(served) > starts)
    apply({"v3": 100})
    assert rewards(state) == before


def starts_of_feedback(settings: ServingSettings) -> int:
    return (settings.logs / "feedback.log").read_text().count("Listening at")


def pid_of_feedback(settings: ServingSettings) -> int:
    """The component's first process, 0 while there is none."""
    return next(part.pid or 0 for part in status(settings).components if part.name == "feedback")


def test_an_api_that_is_away_is_told() -> None:
    with (
        RecommenderClient(f"http://127.0.0.1:{find_free(set())}") as client,
        pytest.raises(RecommenderError, match="is it up"),
    ):
        client.recommendations("u0")


def test_a_killed_server_comes_back_and_users_do_not_notice(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 50, "v4": 50})
    (pid,) = [predictor.pid for predictor in status(served).predictors if predictor.name == "v4"]
    assert pid is not None

    def revived() -> bool:
        (canary,) = [predictor for predictor in status(served).predictors if predictor.name == "v4"]
        return canary.ready and canary.pid not in (None, pid)

    with load(state.api_url) as answers:
        eventually(lambda: len(answers) > 20)
        os.kill(pid, signal.SIGKILL)
        eventually(revived)
        seen = len(answers)
        eventually(lambda: "v4" in {answer.get("predictor") for answer in answers[seen:]})

    assert {answer["status"] for answer in answers} == {200}


def test_the_status_tells_what_runs(served: ServingSettings, apply: Callable[..., RuntimeState]) -> None:
    state = apply({"v3": 90, "v4": 10})

    found = status(served)

    assert found.running and found.api_url == state.api_url and found.gateway_url == state.gateway_url
    predictors = {"predictor-v3", "predictor-v4"}
    assert {part.name for part in found.components} == {"api", "envoy", "exporter", "feedback", *predictors}
    assert found.feedback_url == state.feedback_url
    assert [(part.name, part.weight, part.ready) for part in found.predictors] == [
        ("v3", 90, True),
        ("v4", 10, True),
    ]
    assert found.predictors[0].http_port == state.predictors["v3"].http


def make_unloadable(model: Path) -> None:
    """Replace an operator by one that no runtime has; the file stays a valid ONNX model."""
    graph = onnx.load(model)
    graph.graph.node[-1].domain = "nowhere"
    graph.opset_import.append(onnx.helper.make_opsetid("nowhere", 1))
    onnx.save(graph, model)


@pytest.mark.parametrize(
    ("path", "damage", "reason"),
    [
        ("1/model.onnx", make_unloadable, "nowhere:Add"),
        ("config.pbtxt", lambda file: file.write_text("}{"), "config.pbtxt"),
    ],
)
def test_a_model_that_does_not_load_leaves_everything_as_it_was(
    served: ServingSettings,
    apply: Callable[..., RuntimeState],
    path: str,
    damage: Callable[[Path], None],
    reason: str,
) -> None:
    state = apply({"v3": 100})
    components = status(served).components
    model = write_repository(served.models / "v3" / served.model_name / "1" / "model.onnx", 6, served)
    damage(model / served.model_name / path)
    started = time.monotonic()

    with load(state.api_url) as answers:
        with pytest.raises(runtime.RuntimeFailure, match=f"'v6' does not load its model: .*{reason}") as told:
            apply({"v3": 90, "v6": 10})
        eventually(lambda: len(answers) > 20)
    assert time.monotonic() - started < served.predictor_start_seconds / 2, "it is told at once"
    assert "\n" not in str(told.value), "where in Triton it happened helps nobody"

    assert_no_failure(answers)
    assert status(served).components == components


def test_a_damaged_file_of_the_champion_is_refused_before_anything_is_restarted(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 100})
    model = served.models / "v3" / served.model_name / "1" / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(b"rotten")
    try:
        with pytest.raises(ManifestError, match=r"'v3'.*not a valid ONNX model"):
            apply({"v3": 100})
        assert set(predictors_of(state, ["u0"])) == {"v3"}
    finally:
        model.write_bytes(content)


def test_gateway_and_api_move_to_the_ports_that_are_asked_for(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    apply({"v3": 100})
    taken: set[int] = set()
    ports = {"gateway_port": find_free(taken), "api_port": find_free(taken)}

    state = runtime.apply(render({"v3": 100}, served), served.model_copy(update=ports))

    assert (state.gateway.gateway, state.api) == (ports["gateway_port"], ports["api_port"])
    with RecommenderClient(state.api_url) as client:
        assert client.recommendations("u0").predictor == "v3"


def test_a_deployment_that_the_api_would_not_ask_for_is_refused(served: ServingSettings) -> None:
    other = served.model_copy(update={"deployment_name": "other", "model_uri_base": "s3://away"})

    with pytest.raises(ManifestError) as caught:
        runtime.apply(render({"v3": 100}, other), served)

    assert "RENTALS_DEPLOYMENT_NAME" in caught.value.faults[0]
    assert "RENTALS_MODEL_URI_BASE" in caught.value.faults[1]


def test_a_manifest_whose_model_is_elsewhere_is_refused(served: ServingSettings) -> None:
    elsewhere = served.model_copy(update={"model_uri_base": "s3://bucket/models"})

    with pytest.raises(ManifestError, match="RENTALS_MODEL_URI_BASE"):
        runtime.apply(render({"v3": 100}, elsewhere), served)


def test_the_manifest_of_a_cluster_is_served_from_the_local_models(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    apply({"v3": 100})
    components = status(served).components
    elsewhere = served.model_copy(update={"model_uri_base": "s3://bucket/models"})

    runtime.apply(render({"v3": 100}, elsewhere), elsewhere)

    assert status(served).components == components


def test_a_good_canary_is_promoted_and_a_broken_one_taken_back(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 100})
    # Latencies say little on a machine that runs everything else as well.
    thresholds = DecisionThresholds(minimum_requests=50, latency_floor_ms=10_000)
    with load(state.api_url) as answers:
        promoted = rollout(4, served, (0, 25, 100), thresholds)
        rolled_back = rollout(5, served, (25, 100), thresholds)
        seen = len(answers)
        eventually(lambda: len(answers) > seen + 20)

    assert promoted.promoted and promoted.champion == "v4", promoted
    assert promoted.measured_share == pytest.approx(0.25, abs=0.15)
    assert not rolled_back.promoted and rolled_back.champion == "v4", rolled_back
    assert rolled_back.failed_answers >= 5
    assert [answer.get("detail") for answer in answers if answer["status"] != 200] == []
    assert {answer["predictor"] for answer in answers[seen:]} == {"v4"}
    deployment = runtime.applied(served)
    assert deployment is not None and deployment.weights == {"v4": 100}
    assert [predictor.name for predictor in status(served).predictors] == ["v4"]
    decisions = DecisionLog(served.decisions).read()
    assert [(entry.canary, entry.action) for entry in decisions] == [
        ("v4", "start"),
        ("v4", "start"),
        ("v4", "promote"),
        ("v5", "start"),
        ("v5", "rollback"),
    ]


def test_a_canary_without_traffic_is_taken_back_in_the_end(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    apply({"v3": 100})
    hasty = served.model_copy(update={"rollout_seconds": 0.2})

    thresholds = DecisionThresholds(minimum_requests=100)
    outcome = rollout(4, hasty, thresholds=thresholds, arms=lambda *_: (Arm(10, 0), Arm(1, 0)))

    assert not outcome.promoted and outcome.measured_share is None
    assert "not proven within 0.2 s: 1 of 100 requests" in outcome.reasons[0]


def test_an_interrupted_rollout_takes_its_canary_back(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    apply({"v3": 100})

    def interrupted(*_: Any) -> tuple[Arm, Arm]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rollout(4, served, arms=interrupted, again=True)

    deployment = runtime.applied(served)
    assert deployment is not None and deployment.weights == {"v3": 100}


def test_a_terminated_rollout_takes_its_canary_back(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    apply({"v3": 100})

    def terminated(*_: Any) -> tuple[Arm, Arm]:
        os.kill(os.getpid(), signal.SIGTERM)
        return Arm(0, 0), Arm(0, 0)

    # Without the rollout's own handler this one is called, which lets it go on; pytest itself would die.
    former = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(SystemExit):
            rollout(4, served.model_copy(update={"rollout_seconds": 2}), arms=terminated, again=True)
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, None)
    finally:
        signal.signal(signal.SIGTERM, former)

    deployment = runtime.applied(served)
    assert deployment is not None and deployment.weights == {"v3": 100}


def test_a_decision_is_written_before_it_is_acted_upon(
    served: ServingSettings, apply: Callable[..., RuntimeState], monkeypatch: pytest.MonkeyPatch
) -> None:
    apply({"v3": 100})
    log = DecisionLog(served.decisions)
    logged: list[str] = []
    real = runtime.apply

    def watched(*arguments: Any) -> RuntimeState:
        logged.append(log.read()[-1].action)
        return real(*arguments)

    monkeypatch.setattr(runtime, "apply", watched)
    thresholds = DecisionThresholds(minimum_requests=100)
    rollout(4, served, (10, 50, 100), thresholds, arms=lambda *_: (Arm(900, 0), Arm(100, 0)), again=True)

    assert logged == ["start", "start", "promote"]


def test_a_rollout_that_is_killed_goes_on_where_it_was(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    state = apply({"v3": 100})
    log = DecisionLog(served.decisions)
    decided = len(log.read())
    users = [f"user-{number}" for number in range(300)]
    command = [sys.executable, "-m", "serving", "rollout", "--version=4", "--steps=20,60,100", "--again"]
    environment = os.environ | {"RENTALS_HOME": str(served.home)}
    process = subprocess.Popen(command, env=environment, cwd=CHECKOUT)
    # The manifest is written after Envoy has its weights: killed between them, the step is begun once more.
    eventually(lambda: (in_force := runtime.applied(served)) and len(in_force.live) == 2)
    process.kill()
    process.wait()
    assert set(predictors_of(state, users)) == {"v3", "v4"}, "nobody took the canary back"

    thresholds = DecisionThresholds(minimum_requests=100)
    outcome = rollout(4, served, (20, 60, 100), thresholds, arms=lambda *_: (Arm(900, 0), Arm(100, 0)))

    assert outcome.promoted and set(predictors_of(state, users)) == {"v4"}
    steps = [(entry.action, entry.share) for entry in log.read()[decided:]]
    assert steps == [("start", 20), ("start", 60), ("promote", 60)]


def test_a_runtime_whose_supervisor_died_is_taken_up_again(
    served: ServingSettings, apply: Callable[..., RuntimeState]
) -> None:
    apply({"v3": 100})
    orphans = find_marked(served.home)
    os.kill(int((served.run / "supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: not Supervisor(served).is_alive())
    assert find_marked(served.home), "the components outlive their supervisor"
    with pytest.raises(SupervisionError, match="run the command again"):
        Supervisor(served).processes()
    assert orphans >= set(status(served).orphans) == find_marked(served.home)

    state = apply({"v3": 100})

    assert not orphans & find_marked(served.home)
    assert set(predictors_of(state, ["u0"])) == {"v3"}


def test_the_command_line_brings_it_up_shows_it_and_brings_it_down(
    served: ServingSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("RENTALS_HOME", str(served.home))
    manifest = tmp_path / "deployment.yaml"
    save(render({"v3": 100}, served), manifest)

    assert main(["up", str(manifest)]) == 0
    assert "http://127.0.0.1:" in capsys.readouterr().out
    assert main(["status"]) == 0
    assert json.loads(capsys.readouterr().out)["running"]
    monkeypatch.setenv("RENTALS_ROLLOUT_SECONDS", "0.2")
    assert main(["rollout", "--version", "4", "--steps", "10,100", "--again"]) == 2
    assert "not proven within 0.2 s" in json.loads(capsys.readouterr().out)["reasons"][0]
    assert main(["rollout", "--version", "3"]) == 1
    assert "v3 is the champion already" in capsys.readouterr().err
    assert main(["down"]) == 0
    assert not find_marked(served.home)
    assert main(["status"]) == 0
    assert not json.loads(capsys.readouterr().out)["running"]
    manifest.write_text(manifest.read_text().replace("traffic: 100", "traffic: 99"))
    assert main(["up", str(manifest)]) == 1
    assert "sums to 99" in capsys.readouterr().err


def test_a_first_start_that_fails_leaves_nothing(settings: ServingSettings, tiny_model: Path) -> None:
    with pytest.raises(ManifestError, match="holds no model"):
        runtime.apply(render({"v3": 100}, settings), settings)
    assert not find_marked(settings.home)

    repository = write_repository(tiny_model, 3, settings)
    (repository / settings.model_name / "config.pbtxt").write_text("}{")
    with pytest.raises(runtime.RuntimeFailure, match="does not load its model"):
        runtime.apply(render({"v3": 100}, settings), settings)
    assert not find_marked(settings.home)
    assert not status(settings).running


def test_a_taken_port_is_told_and_nothing_is_left(settings: ServingSettings, tiny_model: Path) -> None:
    write_repository(tiny_model, 3, settings)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = settings.model_copy(update={"gateway_port": server.getsockname()[1]})

        with pytest.raises(PortTakenError, match="RENTALS_GATEWAY_PORT"):
            runtime.apply(render({"v3": 100}, taken), taken)

    assert not find_marked(settings.home)
