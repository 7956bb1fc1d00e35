"""What belongs to which answer, and what belongs to none."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from monitoring.labels import labelled
from monitoring.log_entries import Feedback
from monitoring.outcomes import outcomes
from monitoring.prediction_log import PredictionLog, read_feedback, read_predictions

AT = datetime(2026, 1, 5, tzinfo=UTC)
HORIZON = pd.Timedelta(days=7)
LATER = pd.Timestamp(AT) + pd.Timedelta(days=60)


@pytest.fixture
def log(tmp_path, prediction):
    """Writes entries as the API does, and reads them as the flow does."""

    def write(*entries):
        with PredictionLog(tmp_path) as open_log:
            for entry in entries:
                (open_log.feedback if isinstance(entry, Feedback) else open_log.record)(entry)
        return read_predictions(tmp_path), read_feedback(tmp_path)

    return write


def said(request_id: str, rental_id: str | None, rating: float | None, hours: float = 1, user: str = "u1"):
    return Feedback(request_id, user, rental_id, rating, AT + timedelta(hours=hours))


def rentals(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user_id", "rental_id", "rating", "days"])
    return frame.assign(event_timestamp=pd.Timestamp(AT) + pd.to_timedelta(frame.pop("days"), unit="D"))


def judged(*frames):
    return outcomes(labelled(*frames, HORIZON), LATER, HORIZON)


def test_what_fits_no_answer_is_counted_and_left_out(log, prediction) -> None:
    found = labelled(
        *log(
            prediction("a", AT),
            prediction("failed", AT, ok=False, rental_ids=[], scores=[], predicted_ratings=[]),
            said("a", "r1", 4.0),
            said("a", "r1", 4.0, hours=2),
            said("a", "r9", 4.0),
            said("gone", "r1", 4.0),
            said("a", "r2", 9.0),
            said("a", "r2", float("inf")),
            said("a", "r3", 1.0, user="a stranger"),
        ),
        None,
        HORIZON,
    )
    assert list(found.labels["rental_id"]) == ["r1"]
    assert found.left_out == {
        "attempts that gave no answer": 1,
        "feedback off the scale of ratings": 2,
        "feedback to an unknown request": 1,
        "feedback by another user than the answer's": 1,
        "feedback to a rental that was not in the answer": 1,
    }


def test_the_same_sent_twice_is_one_label(log, prediction) -> None:
    predictions, feedback = log(prediction("a", AT), said("a", "r1", 4.0))
    twice = pd.concat([feedback, feedback], ignore_index=True)
    assert labelled(predictions, twice, None, HORIZON).left_out == {"feedback said again": 1}
    again = pd.concat([predictions, predictions], ignore_index=True)
    assert labelled(again, feedback, None, HORIZON).left_out == {"answers logged again": 1}


def test_a_click_that_became_a_rating_is_the_rating_and_the_last_one_counts(log, prediction) -> None:
    found = judged(
        *log(prediction("a", AT), said("a", "r1", 2.0, 1), said("a", "r1", 3.0, 2), said("a", "r1", None, 3)),
        None,
    )
    assert list(found.ratings["rating"]) == [3.0]
    assert found.answers.loc["a", "liked"] == 0


def test_feedback_to_a_whole_answer_is_a_reward_and_no_error(log, prediction) -> None:
    found = judged(*log(prediction("a", AT), said("a", None, 5.0)), None)
    assert found.answers.loc["a", ["liked", "rated", "ndcg"]].tolist() == [1, 0, 0]
    assert found.ratings.empty


def test_a_later_rental_belongs_to_the_last_answer_before_it(log, prediction) -> None:
    predictions, feedback = log(prediction("old", AT), prediction("new", AT + timedelta(days=2)))
    found = judged(
        predictions, feedback, rentals(("u1", "r2", 5.0, 3), ("u1", "r1", 5.0, 30), ("u9", "r1", 5.0, 3))
    )
    assert found.answers["rented"].to_dict() == {"old": 0, "new": 1}
    assert found.answers["ndcg"].to_dict() == pytest.approx({"old": 0, "new": 1 / np.log2(3)})
    assert found.ratings["predicted_rating"].tolist() == [4.0]


def test_a_rental_before_the_answer_is_none_of_its_labels(log, prediction) -> None:
    predictions, feedback = log(prediction("a", AT + timedelta(days=1)))
    assert not judged(predictions, feedback, rentals(("u1", "r1", 5.0, 0.5))).answers["rented"].any()


def test_a_liked_rental_that_was_not_shown_is_no_reward_and_a_missed_gain(log, prediction) -> None:
    predictions, feedback = log(prediction("a", AT))
    found = judged(predictions, feedback, rentals(("u1", "elsewhere", 5.0, 1)))
    assert found.answers.loc["a", ["liked", "rented", "ndcg"]].tolist() == [0, 1, 0]


def test_several_chosen_rentals_share_the_ideal_order(log, prediction) -> None:
    found = judged(*log(prediction("a", AT), said("a", "r1", None), said("a", "r3", None)), None)
    ideal = 1 + 1 / np.log2(3)
    assert found.answers.loc["a", "ndcg"] == pytest.approx((1 + 1 / np.log2(4)) / ideal)


def test_ratings_of_given_rentals_are_no_ranking(log, prediction) -> None:
    found = judged(*log(prediction("a", AT, scores=[0.1, 0.9, 0.5]), said("a", "r1", 4.0)), None)
    assert not found.answers.loc["a", "ranked"]
    assert len(found.ratings) == 1


def test_a_frame_without_its_columns_is_refused(log, prediction) -> None:
    predictions, feedback = log(prediction("a", AT))
    with pytest.raises(ValueError, match="feedback lacks \\['rating'\\]"):
        labelled(predictions, feedback.drop(columns="rating"), None, HORIZON)
