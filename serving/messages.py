"""What the HTTP API is asked and what it answers, as its server and its client both read it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from feature_repo.schema import RATING_SCALE, SIZE_SCALE
from feature_repo.stream.events import LONGEST_ID, RatingEvent

LARGEST_K = 100
"""Rentals that a model ranks for one user."""

MOST_FILTERED = 500
"""Values of one filter: more would not fit into the line of a request."""

MOST_PAIRS = 100
"""Pairs of one request: each of its users is asked for by itself."""

MOST_EVENTS = 1_000
"""Events of one request; who has more at once has a file or a stream."""

HIGHEST_PRICE = 1e9
"""In the currency of the rentals; a model takes single precision, in which much larger ones do not exist."""

Identifier = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
Purpose = Annotated[str | None, Field(max_length=LONGEST_ID, examples=["wedding"])]
Size = Annotated[float | None, Field(ge=SIZE_SCALE[0], le=SIZE_SCALE[1], allow_inf_nan=False, examples=[12])]
Price = Annotated[float | None, Field(ge=0, le=HIGHEST_PRICE, allow_inf_nan=False, examples=[90])]
Values = Annotated[list[Identifier], Field(max_length=MOST_FILTERED)]
Features = dict[str, float | str | None]

DegradedStep = Literal["cached features", "no features", "other predictor", "popularity", "no attributes"]
"""What an answer does without: the user's features of a moment ago, or none; the user's own predictor, or
any; the rentals' attributes."""


class Message(BaseModel):
    """What the API takes. A misspelt name is refused: it would otherwise mean its default."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What the API answers."""

    model_config = ConfigDict(protected_namespaces=())


class Question(Message):
    """How many rentals are asked for, for which purpose and size, and which may come back."""

    k: int = Field(10, ge=1, le=LARGEST_K)
    purpose: Purpose = None
    size: Size = None

    exclude: Values = []
    """Rentals that must not come back."""

    exclude_rented: bool = False
    """Whether the user's latest rentals, ten at most, must not come back."""

    only: Values = []
    """Rentals that may come back; all where there are none."""

    category: Values = []
    """Categories whose rentals may come back; all where there are none."""

    area: Values = []
    """Areas whose rentals may come back; all where there are none."""

    price_from: Price = None
    """Least price; a rental whose price is not known has none that is allowed."""

    price_to: Price = None
    """Greatest price."""

    @model_validator(mode="after")
    def _has_a_range(self) -> "Question":
        if self.price_from is not None and self.price_to is not None and self.price_from > self.price_to:
            raise ValueError("price_from is greater than price_to: exchange them")
        return self


class Reason(Answer):
    """What speaks for a rental."""

    subject: str = Field(examples=["purpose"])
    factor: float = Field(examples=[1.8])
    """How many times as often the rental is expected to be chosen because of it."""


class Degradation(Answer):
    """What an answer does without, and why."""

    step: DegradedStep
    reason: str


class RecommendedRental(Answer):
    """One rental of an answer."""

    rental_id: str
    predicted_rating: float
    score: float
    reasons: list[Reason] = []
    """The strongest first; none where the model tells none."""

    category: str | None = None
    area: str | None = None
    price: Annotated[float, AfterValidator(lambda price: round(price, 2))] | None = None
    """Without the further digits that the short numbers of the store have."""

    capacity: float | None = None


class Recommendations(Answer):
    """The answer for one user, best rental first."""

    request_id: str
    """By it feedback is joined to the answer."""

    user_id: str
    model_version: str
    predictor: str
    cold_start: bool
    """Whether nothing was known of the user."""

    degraded: list[Degradation]
    """How the answer is less than it could be; empty where it is not."""

    items: list[RecommendedRental]


class Pair(Message):
    """A user and a rental, with what the rental is for."""

    user_id: Identifier
    rental_id: Identifier
    purpose: Purpose = None
    size: Annotated[Size, Field(strict=True)] = None


class PairsQuestion(Message):
    """Pairs whose ratings are asked for."""

    pairs: list[Pair] = Field(min_length=1, max_length=MOST_PAIRS)


class PredictedRating(Answer):
    """The answer for one pair; a rental that the model does not know is rated as one of no features."""

    request_id: str
    """By it feedback is joined to the answer; that of all pairs of one user, purpose and size."""

    user_id: str
    rental_id: str
    predicted_rating: float
    score: float
    """Only its difference to others of the same user means something."""

    model_version: str
    predictor: str


class PredictedRatings(Answer):
    """The answers in the order of the pairs."""

    degraded: list[Degradation]
    predictions: list[PredictedRating]


class UserFeatures(Answer):
    """A user's online features by name, null where unknown."""

    user_id: str
    features: Features


class RentalFeatures(Answer):
    """A rental's online features by name, null where unknown."""

    rental_id: str
    features: Features


class FeedbackMessage(Message):
    """What a user says to a recommended rental: a rating, or null for a click."""

    request_id: Identifier
    user_id: Identifier
    rental_id: Identifier
    rating: float | None = Field(
        None, strict=True, ge=RATING_SCALE[0], le=RATING_SCALE[1], allow_inf_nan=False
    )


Events = Annotated[
    Annotated[RatingEvent, Tag("event")]
    | Annotated[list[RatingEvent], Field(min_length=1, max_length=MOST_EVENTS), Tag("events")],
    # Told apart first, so that the faults are those of the one that was meant.
    Discriminator(lambda body: "events" if isinstance(body, list) else "event"),
]


class Accepted(Answer):
    """How many entries were taken."""

    accepted: int


class Problem(Answer):
    """An error, after RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["k: input should be greater than or equal to 1, got '0'"])
    """What is wrong, and the remedy."""

    instance: str = Field(examples=["/users/1/recommendations"])
