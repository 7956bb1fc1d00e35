"""The HTTP API: recommendations, the features behind them, and feedback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Response, Security
from fastapi.responses import HTMLResponse
from starlette.convertors import StringConvertor, register_url_convertor

from feature_repo.settings import FeatureSettings
from feature_repo.stream import inbox
from feature_repo.stream.events import LONGEST_ID, RatingEvent
from monitoring.prediction_log import Feedback, PredictionLog
from serving import problems
from serving.api_keys import ApiKeys
from serving.components import load_state
from serving.messages import (
    Accepted,
    Events,
    FeedbackMessage,
    PairsQuestion,
    PredictedRatings,
    Question,
    Recommendations,
    RentalFeatures,
    UserFeatures,
)
from serving.metrics import Metrics
from serving.online_features import FeatureStore, FeaturesUnavailableError, OnlineFeatureReader
from serving.predictors import Predictors
from serving.rate_limit import RateLimit
from serving.recommend import Recommender
from serving.request_limit import RequestLimit
from serving.runtime import applied
from serving.security_headers import SecurityHeaders
from serving.settings import ServingSettings

PathId = Annotated[str, Path(min_length=1, max_length=LONGEST_ID, examples=["1"])]
PurposeQuery = Annotated[str | None, Query(max_length=LONGEST_ID)]


class _IdConvertor(StringConvertor):
    # Starlette's own convertor of paths takes slashes, but no line breaks.
    regex = "(?s:.*)"


register_url_convertor("id", _IdConvertor())

INDEX = """<!doctype html><title>Rental recommendations</title>
<h1>Rental recommendations</h1>
<ul>
<li><a href="/users/1/recommendations?k=10">/users/{user_id}/recommendations?k=10&amp;purpose=&amp;size=</a>,
also with exclude= and only= (rental ids), category= and area=, each as often as wanted, exclude_rented=,
price_from= and price_to=
<li>POST /ratings:predict: pairs of user_id, rental_id, purpose and size
<li><a href="/users/1/features">/users/{user_id}/features</a>
<li><a href="/rentals/1/features">/rentals/{rental_id}/features</a>
<li>POST /feedback: request_id, user_id, rental_id, rating (1 to 5, or null for a click)
<li>POST /v1/events: one rating or a list of them, for the stream: rating_id, user_id, rental_id, rating,
purpose, size, event_timestamp
<li><a href="/openapi.json">the whole API as OpenAPI</a>, <a href="/readyz">readiness</a>,
<a href="/metrics">metrics</a>
</ul>
"""


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
        RuntimeError: no gateway is named, and no local runtime was started for the settings' home.
    """
    settings = settings or ServingSettings()
    feature_settings = FeatureSettings(home=settings.home)
    gateway_url = settings.gateway_url or _local_gateway(settings)
    log = PredictionLog(settings.lake)
    features = OnlineFeatureReader(
        lambda: store or open_feast(settings), settings.rental_cache_seconds, settings.user_cache_seconds
    )
    predictors = Predictors(settings, gateway_url)
    recommender = Recommender(settings, predictors, features, log)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await features.open()
        yield
        await predictors.close()
        features.close()
        log.close()

    # FastAPI's own documentation pages fetch their scripts from elsewhere: they stay blank without a network.
    app = FastAPI(
        title="Rental recommendations",
        description="Recommendations of rentals, predicted ratings, the features behind them, and feedback. "
        "Every error is a problem after RFC 9457.",
        version=version("rentals"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems.NO_HTTP | problems.documented(422, 429),
    )
    problems.install(app)
    app.add_middleware(RequestLimit)
    if settings.requests_per_minute:
        app.add_middleware(RateLimit, per_minute=settings.requests_per_minute)
    app.add_middleware(SecurityHeaders)
    metrics = Metrics(log)
    metrics.install(app)
    writes: dict[str, Any] = {
        "status_code": 202,
        "dependencies": [Security(ApiKeys(settings.api_keys))],
        "responses": problems.documented(400, 401, 413),
    }

    @app.head("/", response_class=HTMLResponse, include_in_schema=False)
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> str:
        return INDEX

    # Load balancers ask by HEAD.
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the API's process is alive."""
        return {"status": "alive"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", responses={503: {"description": "No model is ready"}})
    async def readyz(response: Response) -> dict[str, Any]:
        """Whether a model is ready, why answers would be degraded, and the predictors' weights."""
        ready = await predictors.is_ready()
        if not ready:
            response.status_code = 503
        try:
            await features.user("", None, settings.features_seconds)
            reason = None
        except FeaturesUnavailableError as error:
            reason = str(error)
        deployment = applied(settings)
        return {"ready": ready, "degraded": reason, "weights": deployment.weights if deployment else {}}

    @app.get(
        "/users/{user_id:id}/recommendations",
        response_model=Recommendations,
        responses=problems.documented(503),
    )
    async def recommendations(user_id: PathId, question: Annotated[Question, Query()]) -> Response:
        """The best rentals for a user; whom nobody knows gets the answer for a new user."""
        answer = await recommender.recommend(user_id, question)
        metrics.recommendation(answer)
        # FastAPI would check an answer that was built here once more, which takes longer than to write it.
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.post("/ratings:predict", responses=problems.documented(400, 413, 503))
    async def predict_ratings(question: PairsQuestion) -> PredictedRatings:
        """The ratings that users would give to rentals."""
        answer = await recommender.predict(question.pairs)
        metrics.degraded(answer.degraded)
        return answer

    @app.get("/users/{user_id:id}/features", responses=problems.documented(503))
    async def user_features(user_id: PathId, purpose: PurposeQuery = None) -> UserFeatures:
        """A user's online features, and those of the purpose."""
        found = await _available(features.user(user_id, purpose, settings.features_seconds))
        return UserFeatures(user_id=user_id, features=found)

    @app.get("/rentals/{rental_id:id}/features", responses=problems.documented(503))
    async def rental_features(rental_id: PathId) -> RentalFeatures:
        """A rental's online features."""
        (found,) = await _available(features.rentals([rental_id], settings.features_seconds))
        return RentalFeatures(rental_id=rental_id, features=found)

    @app.post("/feedback", **writes)
    async def feedback(message: FeedbackMessage) -> Accepted:
        """What a user said to a recommended rental."""
        log.feedback(Feedback(**message.model_dump(), timestamp=datetime.now(UTC)))
        return Accepted(accepted=1)

    @app.post("/v1/events", **writes)
    def events(message: Events) -> Accepted:
        """Ratings for the stream, from which features are updated."""
        received = [message] if isinstance(message, RatingEvent) else message
        inbox.publish(feature_settings, [event.model_dump(mode="json") for event in received])
        return Accepted(accepted=len(received))

    return app


def _local_gateway(settings: ServingSettings) -> str:
    state = load_state(settings)
    if state is None:
        raise RuntimeError(
            f"nothing is served from {settings.home}: run `python -m serving up MANIFEST`, or set "
            "RENTALS_GATEWAY_URL"
        )
    return state.gateway_url


async def _available(reading: Any) -> Any:
    try:
        return await reading
    except FeaturesUnavailableError as error:
        raise HTTPException(503, f"{error}; materialize features first") from error
