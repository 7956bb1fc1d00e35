"""The control room in a real browser, beside a real Triton and Envoy: what is pressed there happens here."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from monitoring.prediction_log import read_predictions
from serving import api_keys, runtime
from serving.components import load_state
from serving.decision import Arm
from serving.decision_log import DecisionLog
from serving.envoy import PREDICTOR_HEADER, USER_HEADER
from serving.manifest import render
from serving.rollout import RolloutOutcome, rollout
from serving.settings import DecisionThresholds, ServingSettings
from serving.triton import write_repository

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = 90
"""Seconds until something that must happen counts as not happening."""

OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
USERS = 60


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]
) -> Iterator[ServingSettings]:
    """Version 3 is served, version 4 lies ready."""
    folder = tmp_path_factory.mktemp("control")
    settings = ServingSettings(home=folder / "home", rollout_seconds=PATIENCE, rollout_poll_seconds=0.1)
    for version in (3, 4):
        write_repository(write_model(folder / f"{version}.onnx"), version, settings)
    runtime.apply(render({"v3": 100}, settings), settings)
    yield settings
    runtime.down(settings)


@pytest.fixture(scope="module")
def page_url(served: ServingSettings) -> Iterator[str]:
    """The page, started as people start it and ended as they end it; nothing of it is left."""
    room = subprocess.Popen(
        [sys.executable, "-m", "flows", "control-room"],
        cwd=CHECKOUT,
        env={**os.environ, "RENTALS_HOME": str(served.home), "TMPDIR": str(served.home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert room.stdout is not None
    first = room.stdout.readline()
    assert first.startswith("control room"), (first, room.wait())
    yield first.split()[-1]
    room.send_signal(signal.SIGINT)
    assert room.wait(PATIENCE) == 0
    assert "the control room is closed" in room.stdout.read()
    with pytest.raises(httpx.ConnectError):
        httpx.get(first.split()[-1], trust_env=False)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: `apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=CHROMIUM, headless=True, args=OPTIONS
        )
        context.set_default_timeout(PATIENCE * 1000)
        yield context
        context.close()


def eventually(happened: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (result := happened()):
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.05)
    return result


def predictors_at_envoy(settings: ServingSettings) -> set[str]:
    state = load_state(settings)
    assert state is not None
    path = "/seldon/rentals/rentals/v2/models/rental-recommender/ready"
    with httpx.Client(base_url=state.gateway_url, trust_env=False) as client:
        answers = [client.get(path, headers={USER_HEADER: f"u{number}"}) for number in range(USERS)]
    return {answer.raise_for_status().headers[PREDICTOR_HEADER] for answer in answers}


def test_a_rollback_that_is_pressed_on_the_page_happens_at_envoy(
    served: ServingSettings, page_url: str, browser: Any
) -> None:
    key = api_keys.create(served.api_keys)
    outcomes: list[RolloutOutcome] = []

    def roll() -> None:
        undecided = DecisionThresholds(minimum_requests=10**6)
        outcomes.append(rollout(4, served, (50, 100), undecided, lambda *_: (Arm(1, 0), Arm(1, 0))))

    running = threading.Thread(target=roll)
    running.start()
    eventually(lambda: (deployment := runtime.applied(served)) and deployment.weights == {"v3": 50, "v4": 50})
    assert predictors_at_envoy(served) == {"v3", "v4"}

    page, asked = browser.new_page(), set()
    page.on("request", lambda request: asked.add(httpx.URL(request.url).host))
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(page_url)
    page.get_by_text("v4 is being rolled out: v3 answers 50 %, v4 answers 50 %").first.wait_for()
    for role in ("champion", "canary"):
        page.get_by_text(role, exact=True).wait_for()

    page.get_by_role("button", name="Roll back…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("v4 (50 %) loses all its traffic; v3 answers everybody.").wait_for()
    dialog.get_by_label("Why").fill("a customer called")
    dialog.get_by_role("textbox", name="Key").fill("not a key")
    dialog.get_by_role("button", name="Roll back v4").click()
    dialog.get_by_text("this key is not known").wait_for()
    assert running.is_alive() and predictors_at_envoy(served) == {"v3", "v4"}

    dialog.get_by_role("textbox", name="Key").fill(key)
    dialog.get_by_role("button", name="Roll back v4").click()
    page.get_by_text("v4 was taken back; v3 answers all users").wait_for()

    assert predictors_at_envoy(served) == {"v3"}
    running.join(PATIENCE)
    assert not outcomes[0].promoted and outcomes[0].reasons == ["by hand: a customer called"]
    last = DecisionLog(served.decisions).read()[-1]
    assert (last.canary, last.action, last.reasons) == ("v4", "rollback", ["by hand: a customer called"])
    # The page tells it by itself.
    page.get_by_text("by hand: a customer called").wait_for()
    page.get_by_text("v3 answers 100 %").first.wait_for()
    assert page.get_by_text("canary", exact=True).count() == 0
    assert asked == {"127.0.0.1"}, "nothing is fetched from elsewhere"
    assert key not in "".join(path.read_text(errors="replace") for path in served.logs.glob("*.log*"))
    page.close()


def test_drift_and_quality_are_drawn_as_soon_as_they_are_there(
    served: ServingSettings, page_url: str, browser: Any
) -> None:
    page = browser.new_page()
    page.goto(page_url)
    page.get_by_text("nothing was compared yet: run").wait_for()
    page.get_by_text("no figures of what is served yet: run").wait_for()

    (folder := served.home / "monitoring").mkdir()
    feature = {
        "kind": "numeric",
        "p_value": math.nan,
        "adjusted_p_value": math.nan,
        "effects": {"psi": math.nan},
    }
    moved = {"name": "price", "drifted": True, "explanation": "dearer", "change": {"since": "2026-05-01"}}
    features = [feature | {"name": "age", "drifted": False, "explanation": "as before", "change": None}]
    report = {
        "drifted": ["price"],
        "measured_at": "2026-05-15T00:00:00+00:00",
        "alarms": ["drift in price", "performance: RMSE rises"],
        "reference_rows": 90,
        "current_rows": 10,
        "features": [*features, feature | moved],
        "periods": "before and after",
        "distributions": [
            {"name": "price", "labels": ["1 – 2", "2 – 3"], "reference": [0.8, 0.2], "current": [0.1, 0.9]}
        ],
    }
    report["served"] = {**report, "features": features, "periods": "first and last days"}
    (folder / "drift.json").write_text(json.dumps(report))
    figures = {"value": [0.6, math.nan], "lower": [0.5, math.nan], "upper": [0.7, math.nan], "count": [9, 0]}
    at = pd.to_datetime(["2026-05-01", "2026-05-08"], utc=True)
    same = {"model_version": "3", "segment": "all", "metric": "rmse", "estimated": [False, True]}
    pd.DataFrame(figures).assign(period_start=at, period_end=at, **same).to_parquet(
        folder / "performance.parquet"
    )

    page.reload()
    page.get_by_text("Drift in price; performance: RMSE rises").first.wait_for()
    page.get_by_text("compared 2026-05-15 00:00:00 UTC").wait_for()
    page.get_by_text("first and last days (90 rows before, 10 since)").wait_for()
    page.get_by_text("before and after (90 rows before, 10 since)").wait_for()
    page.get_by_text("error of predicted ratings, in stars: lower is better").wait_for()
    for chart in ("distributions of price", "rmse over time"):
        page.get_by_label(chart).first.wait_for()
    assert page.get_by_test_id("stException").count() == 0
    page.close()


def test_a_recommendation_is_traced_on_a_phone_which_never_scrolls_sideways(
    served: ServingSettings, page_url: str, browser: Any
) -> None:
    state = load_state(served)
    assert state is not None
    hostile = "<img src=x onerror=document.title='hacked'>"
    asked = httpx.get(
        f"{state.api_url}/users/{hostile}/recommendations", params={"k": 2}, trust_env=False, timeout=PATIENCE
    ).json()
    eventually(lambda: asked["request_id"] in set(read_predictions(served.lake)["request_id"]))

    page = browser.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(page_url)
    field = page.get_by_label("request_id of a recommendation")
    field.fill(asked["request_id"])
    field.press("Enter")
    page.get_by_text(hostile).first.wait_for()
    page.get_by_text(asked["items"][0]["rental_id"]).first.wait_for()
    page.get_by_text("No version was rolled out yet").or_(
        page.get_by_text("50 % of the traffic")
    ).first.wait_for()

    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth <= element.clientWidth")
    assert main.bounding_box()["width"] == 390 and page.title() == "Control room"
    page.close()
