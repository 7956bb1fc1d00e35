import math

import numpy as np
import pytest

from feature_repo.names import RECOMMENDER_REQUEST_FEATURES
from serving.answers import ModelAnswerError, check_answer, check_ratings, model_inputs
from serving.online_features import NO_REQUEST_FEATURES


def outputs(ratings: list[float], scores: list[float] | None = None) -> dict[str, np.ndarray]:
    return {
        "rental_id": np.array([[f"r{index}" for index in range(len(ratings))]], dtype=object),
        "score": np.array([scores or list(range(len(ratings), 0, -1))], dtype=np.float32),
        "predicted_rating": np.array([ratings], dtype=np.float32),
    }


def reasons(place: int = 0, factor: float = 2.0) -> dict[str, np.ndarray]:
    return {
        "reason_subject": np.array([["purpose", ""]], dtype=object),
        "reason": np.array([[[place, 1]]]),
        "reason_factor": np.array([[[factor, 1.0]]]),
    }


def test_reasons_are_named_and_places_of_none_left_out() -> None:
    ranking = check_answer({**outputs([3.0]), **reasons()}, 10)

    assert ranking.reasons == [[("purpose", 2.0)]]


def test_ratings_of_pairs_that_are_none_are_refused() -> None:
    for scores in (np.array([["high"]], dtype=object), np.ones((1, 2)), np.array([[math.nan]])):
        with pytest.raises(ModelAnswerError):
            check_ratings({"score": scores, "predicted_rating": np.array([[3.0]])}, ["r1"])


def test_every_input_has_a_value() -> None:
    inputs = model_inputs("u0", None, 14.0, {"user_age": 30, "user_segment": None, "user_price_mean": None})

    assert set(inputs) == {
        "user_id",
        "purpose",
        "size",
        *(feature.name for feature in RECOMMENDER_REQUEST_FEATURES),
    }
    assert inputs["user_age"] == 30.0 and isinstance(inputs["user_age"], float)
    assert inputs["user_segment"] == inputs["purpose"] == ""
    assert inputs["size"] == "14"
    assert math.isnan(float(inputs["user_price_mean"]))


def test_a_proper_answer_is_a_ranking() -> None:
    ranking = check_answer(outputs([5.0, 1.0]), 10)

    assert ranking.rental_ids == ["r0", "r1"]
    assert ranking.predicted_ratings == [5.0, 1.0]


def test_places_without_a_rental_are_dropped() -> None:
    few = outputs([4.0, math.nan], scores=[1.0, -math.inf])
    few["rental_id"][0, 1] = ""
    assert check_answer(few, 10).rental_ids == ["r0"]
    few["rental_id"][0, 0] = ""
    assert check_answer(few, 10).rental_ids == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (outputs([math.nan, 3.0]), "not finite"),
        (outputs([3.0, 3.0], scores=[1.0, math.inf]), "not finite"),
        (outputs([5.1]), "off the scale"),
        (outputs([0.9]), "off the scale"),
        (outputs([]), "0 rentals"),
        ({**outputs([3.0]), "score": np.ones((1, 2))}, "1 rentals, 2 scores"),
        ({"score": np.ones((1, 1))}, "lacks rental_id, predicted_rating"),
        ({**outputs([3.0]), "score": np.array([["high"]], dtype=object)}, "makes no sense"),
        ({**outputs([3.0]), **reasons(place=9)}, "makes no sense"),
        ({**outputs([3.0, 3.0]), **reasons()}, "makes no sense"),
        ({**outputs([3.0]), **reasons(factor=math.inf)}, "not finite"),
    ],
)
def test_an_answer_nobody_should_see_is_refused(answer: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(ModelAnswerError, match=reason):
        check_answer(answer, 10)


def test_a_stranger_looks_like_a_user_before_the_first_rental() -> None:
    inputs = model_inputs("nobody", None, None, NO_REQUEST_FEATURES)

    assert (inputs["user_rentals_all"], inputs["user_categories"]) == (0, 0)
    assert math.isnan(float(inputs["user_rating_mean_all"]))
    assert (inputs["user_segment"], inputs["purpose"], inputs["size"]) == ("", "", "")
