"""The control API: reading is open on this machine, and acting needs a key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from threading import Lock
from typing import Annotated, Any

from cachetools import TTLCache, cached
from fastapi import FastAPI, Query, Security
from starlette.middleware.trustedhost import TrustedHostMiddleware

from feature_repo.settings import FeatureSettings
from flows import deployment, retraining
from flows.control import errors, reports
from flows.control.data_state import DataState, data_state
from flows.control.lineage import lineage
from flows.control.messages import Act, Done, RetrainAct, RollbackAct
from flows.control.overview import overview
from flows.control.records import records
from flows.control.retraining_job import RetrainingJob
from flows.settings import FlowSettings
from monitoring import traffic
from serving.api_keys import ApiKeys
from serving.ports import HOST
from serving.request_limit import RequestLimit
from serving.security_headers import SecurityHeaders
from serving.settings import ServingSettings

DATA_SECONDS = 15
"""How long what was seen of the lake is told again: it changes by batches, and looking takes a while."""

NOW_SECONDS = 1
"""The same for what serves now: the parts of a page, and the pages of several people, ask at once."""

LATEST = 20
"""Answers that are offered to be traced."""

Minutes = Annotated[int, Query(ge=1, le=120)]
RequestId = Annotated[str, Query(min_length=1, max_length=200)]


def _ago(minutes: int) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def create_app() -> FastAPI:
    """Return the application of the home that the environment names."""
    settings = FlowSettings()
    serving_settings = ServingSettings(home=settings.home)
    job = RetrainingJob(settings)

    @cached(TTLCache(maxsize=1, ttl=NOW_SECONDS), lock=Lock())
    def seen_now() -> dict[str, Any]:
        return overview(settings, serving_settings, looked_at_data)

    @cached(TTLCache(maxsize=1, ttl=DATA_SECONDS), lock=Lock())
    def looked_at_data() -> DataState:
        return data_state(FeatureSettings(home=settings.home))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        job.end()

    app = FastAPI(
        title="Control room",
        description="What serves, learns and drifts, and the buttons. Errors are problems after RFC 9457.",
        version=version("rentals"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    app.add_middleware(RequestLimit)
    app.add_middleware(SecurityHeaders)
    # A page of somebody else, whose name was made to lead here, must not read it through a person's browser.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    acts: dict[str, Any] = {"dependencies": [Security(ApiKeys(serving_settings.api_keys, required=True))]}

    @app.get("/now")
    def now() -> dict[str, Any]:
        """What serves, what was decided and trained, and whether all is well."""
        return seen_now()

    @app.get("/traffic")
    def by_minute(minutes: Minutes = 30) -> list[dict[str, Any]]:
        """What each predictor answered in each of the last minutes."""
        return records(traffic.by_minute(serving_settings.lake, _ago(minutes)))

    @app.get("/performance")
    def performance() -> list[dict[str, Any]]:
        """Quality over time: a figure per period, version, segment and metric."""
        return reports.performance(settings.home)

    @app.get("/drift")
    def drift() -> dict[str, Any]:
        """The last comparison with the champion's training data, feature by feature."""
        return reports.drift(settings.home)

    @app.get("/data")
    def data() -> DataState:
        """Freshness of data and features, and what is in quarantine."""
        return looked_at_data()

    @app.get("/answers")
    def answers() -> list[dict[str, Any]]:
        """The latest answers, to be traced."""
        return records(traffic.latest(serving_settings.lake, LATEST))

    @app.get("/lineage")
    def trace(request_id: RequestId) -> dict[str, Any]:
        """From one recommendation back to model, run, features and data."""
        return lineage(serving_settings.lake, request_id)

    @app.post("/pause", **acts)
    def pause(act: Act) -> Done:
        """Let nothing train until it is resumed."""
        retraining.stop(settings, act.why)
        return Done(done="nothing trains any more, until it is resumed")

    @app.post("/resume", **acts)
    def resume(act: Act) -> Done:
        """Let trainings go on, and forgive those that brought nothing."""
        retraining.go(settings, act.why)
        return Done(done="what drifts may train again")

    @app.post("/rollback", **acts)
    def rollback(act: RollbackAct) -> Done:
        """Take the canary, or else the last promotion, back."""
        taken, registry = deployment.roll_back(act.why, act.predictor)
        return Done(done=f"{taken.predictor} was taken back; {taken.champion} answers all users; {registry}")

    @app.post("/retrain", status_code=202, **acts)
    def retrain(act: RetrainAct) -> Done:
        """Start a training, if nothing speaks against it."""
        job.start(act.why, act.roll_out)
        return Done(done="a training was started; how it ends is told among the trainings")

    return app
