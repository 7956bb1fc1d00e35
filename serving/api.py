"""The HTTP API: recommendations, the features behind them, and feedback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Response, Security
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from starlette.convertors import StringConvertor, register_url_convertor

from feature_repo.schema import RATING_SCALE, SIZE_SCALE
from feature_repo.settings import FeatureSettings
from feature_repo.stream import inbox
from feature_repo.stream.events import LONGEST_ID, RatingEvent
from monitoring.prediction_log import Feedback, PredictionLog
from serving import problems
from serving.api_keys import ApiKeys
from serving.components import load_state
from serving.metrics import Metrics
from serving.online_features import FeatureStore, FeaturesUnavailableError, OnlineFeatureReader
from serving.recommend import Recommendation, Recommender
from serving.request_limit import RequestLimit
from serving.runtime import applied
from serving.settings import ServingSettings

MOST_EVENTS = 1_000
"""Events of one request; who has more at once has a file or a stream."""

LARGEST_K = 100
"""Rentals that a model ranks for one user."""

Identifier = Annotated[str, Path(min_length=1, max_length=LONGEST_ID)]
Purpose = Annotated[str | None, Query(max_length=LONGEST_ID)]


class _IdConvertor(StringConvertor):
    # Starlette's own convertor of paths takes slashes, but no line breaks.
    regex = "(?s:.*)"


register_url_convertor("id", _IdConvertor())

INDEX = """<!doctype html><title>Rental recommendations</title>
<h1>Rental recommendations</h1>
<ul>
<li><a href="/users/1/recommendations?k=10">/users/{user_id}/recommendations?k=10&amp;purpose=&amp;size=</a>,
also with exclude= and only= (rental ids), category= and area=, each as often as wanted
<li><a href="/users/1/features">/users/{user_id}/features</a>
<li><a href="/rentals/1/features">/rentals/{rental_id}/features</a>
<li>POST /feedback: request_id, user_id, rental_id, rating (1 to 5, or null for a click)
<li>POST /v1/events: one rating or a list of them, for the stream: rating_id, user_id, rental_id, rating,
purpose, size, event_timestamp
<li><a href="/openapi.json">the whole API as OpenAPI</a>, <a href="/readyz">readiness</a>,
<a href="/metrics">metrics</a>
</ul>
"""


MOST_FILTERED = 500
"""Values of one filter: more would not fit into the line of a request."""

Values = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]], Field(max_length=MOST_FILTERED)
]


class Question(BaseModel):
    """How many rentals are asked for, for which purpose and size, and which may come back."""

    # A misspelt name would otherwise mean its default.
    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=LARGEST_K)
    purpose: Purpose = None
    size: float | None = Field(None, ge=SIZE_SCALE[0], le=SIZE_SCALE[1], allow_inf_nan=False)

    exclude: Values = []
    """Rentals that must not come back."""

    only: Values = []
    """Rentals that may come back; all where there are none."""

    category: Values = []
    """Categories whose rentals may come back; all where there are none."""

    area: Values = []
    """Areas whose rentals may come back; all where there are none."""

    @property
    def filters(self) -> dict[str, list[str]]:
        """What is said of the rentals, by the name of the model's input."""
        given = {"exclude": self.exclude, "only": self.only, "category": self.category, "area": self.area}
        return {name: values for name, values in given.items() if values}


class FeedbackMessage(BaseModel):
    """What a user says to a recommended rental: a rating, or null for a click."""

    # A misspelt rating would otherwise count as a click.
    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(min_length=1, max_length=LONGEST_ID)
    user_id: str = Field(min_length=1, max_length=LONGEST_ID)
    rental_id: str = Field(min_length=1, max_length=LONGEST_ID)
    rating: float | None = Field(
        None, strict=True, ge=RATING_SCALE[0], le=RATING_SCALE[1], allow_inf_nan=False
    )


Events = Annotated[
    Annotated[RatingEvent, Tag("event")]
    | Annotated[list[RatingEvent], Field(min_length=1, max_length=MOST_EVENTS), Tag("events")],
    # Told apart first, so that the faults are those of the one that was meant.
    Discriminator(lambda body: "events" if isinstance(body, list) else "event"),
]


def open_feast(settings: ServingSettings) -> FeatureStore:
    """Open Feast's online store; slow, because Feast is."""
    from feature_repo.store import OnlineFeatures

    return OnlineFeatures(FeatureSettings(home=settings.home))


def create_app(settings: ServingSettings | None = None, store: FeatureStore | None = None) -> FastAPI:
    """Return the application.

    Args:
        settings: read from the environment by default.
        store: online features; Feast's by default.

    Raises:
        RuntimeError: no local runtime was started for the settings' home.
    """
    settings = settings or ServingSettings()
    feature_settings = FeatureSettings(home=settings.home)
    state = load_state(settings)
    if state is None:
        raise RuntimeError(f"nothing is served from {settings.home}: run `python -m serving up MANIFEST`")
    log = PredictionLog(settings.lake)
    features = OnlineFeatureReader(
        lambda: store or open_feast(settings), settings.features_seconds, settings.rental_cache_seconds
    )
    recommender = Recommender(settings, state.gateway_url, features, log)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await features.open()
        yield
        await recommender.close()
        features.close()
        log.close()

    # FastAPI's own documentation pages fetch their scripts from elsewhere: they stay blank without a network.
    app = FastAPI(title="Rental recommendations", lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)
    app.add_middleware(RequestLimit)
    metrics = Metrics(log)
    metrics.install(app)
    writes = [Security(ApiKeys(settings.api_keys))]

    @app.head("/", response_class=HTMLResponse, include_in_schema=False)
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> str:
        return INDEX

    # Load balancers ask by HEAD.
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz")
    async def readyz(response: Response) -> dict[str, Any]:
        ready = await recommender.is_ready()
        if not ready:
            response.status_code = 503
        try:
            await features.user("")
            reason = None
        except FeaturesUnavailableError as error:
            reason = str(error)
        deployment = applied(settings)
        return {"ready": ready, "degraded": reason, "weights": deployment.weights if deployment else {}}

    @app.get("/users/{user_id:id}/recommendations")
    async def recommendations(user_id: Identifier, question: Annotated[Question, Query()]) -> Recommendation:
        answer = await recommender.recommend(
            user_id, question.k, question.purpose, question.size, question.filters
        )
        metrics.recommendation(answer.predictor, answer.degraded is not None, answer.cold_start)
        return answer

    @app.get("/users/{user_id:id}/features")
    async def user_features(user_id: Identifier, purpose: Purpose = None) -> dict[str, Any]:
        return {"user_id": user_id, "features": await _available(features.user(user_id, purpose))}

    @app.get("/rentals/{rental_id:id}/features")
    async def rental_features(rental_id: Identifier) -> dict[str, Any]:
        return {"rental_id": rental_id, "features": (await _available(features.rentals([rental_id])))[0]}

    @app.post("/feedback", status_code=202, dependencies=writes)
    async def feedback(message: FeedbackMessage) -> dict[str, str]:
        log.feedback(Feedback(**message.model_dump(), timestamp=datetime.now(UTC)))
        return {"status": "accepted"}

    @app.post("/v1/events", status_code=202, dependencies=writes)
    def events(message: Events) -> dict[str, int]:
        received = [message] if isinstance(message, RatingEvent) else message
        inbox.publish(feature_settings, [event.model_dump(mode="json") for event in received])
        return {"accepted": len(received)}

    return app


async def _available(reading: Any) -> Any:
    try:
        return await reading
    except FeaturesUnavailableError as error:
        raise HTTPException(503, f"{error}; materialize features first") from error
