import numpy as np
import pandas as pd

from models.baselines import RENTAL_SHRINKAGE, earlier_bias, popularity, popularity_by_purpose

AT = pd.Timestamp("2024-06-01", tz="UTC")
IDS = np.array(["a", "b", "c"])


def history(*rows: tuple[str, str, str | None, int]) -> pd.DataFrame:
    """Rows of user, rental, purpose and days before ``AT``."""
    frame = pd.DataFrame(rows, columns=["user_id", "rental_id", "purpose", "before"])
    return frame.assign(event_timestamp=AT - pd.to_timedelta(frame["before"], unit="D"), rating=5.0)


def test_popularity_counts_the_ninety_days_before_and_nothing_later():
    events = history(("u", "a", None, 90), ("u", "a", None, 1), ("u", "b", None, 91), ("u", "c", None, 0))
    np.testing.assert_array_equal(popularity(events, AT, IDS), [2, 0, 0])


def test_popularity_by_purpose_prefers_the_purpose_then_the_overall_share():
    events = history(*[("u", "a", "work", 1)] * 50, *[("u", "b", "party", 1)] * 30, ("u", "c", "party", -1))
    scores = popularity_by_purpose(events, AT, IDS, pd.Series(["work", "party", None]))
    assert scores[0].argmax() == 0
    assert scores[1].argmax() == 1
    assert scores[2].argmax() == 0
    assert (scores[:, 2] == 0).all()


def test_bias_uses_strictly_earlier_days():
    train = history(("u", "a", None, 9), ("v", "b", None, 9)).assign(rating=[1.0, 5.0])
    test = history(("w", "a", None, 2), ("x", "c", None, 2), ("y", "c", None, 2)).assign(
        rating=[5.0, 1.0, 1.0]
    )
    predicted = earlier_bias(train, test)
    np.testing.assert_allclose(predicted, [3 - 2 / (1 + RENTAL_SHRINKAGE), 3, 3])
