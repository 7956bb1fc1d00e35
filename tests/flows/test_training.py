"""What the training flow makes of the frames that the store joins."""

import pandas as pd

from flows.training import TrainingSet, split

BORDER = pd.Timestamp("2020-06-01", tz="UTC")
DAY = pd.Timedelta(days=1)


def test_what_became_known_during_the_tests_is_neither_learnt_nor_tested():
    happened = {"early": BORDER - 2 * DAY, "late": BORDER - DAY, "last": BORDER - DAY, "test": BORDER + DAY}
    known = {
        "early": BORDER - DAY,
        "late": BORDER,
        "last": BORDER - pd.Timedelta("1us"),
        "test": BORDER + DAY,
    }
    events = pd.DataFrame({"event_timestamp": happened, "arrived_at": known}).rename_axis("id").reset_index()
    data = TrainingSet(events, pd.DataFrame(), BORDER + 2 * DAY, BORDER, "hash")
    train, test = split(data)
    assert set(train["id"]) == {"early", "last"}
    assert set(test["id"]) == {"test"}
    assert train.index.tolist() == [0, 1]
