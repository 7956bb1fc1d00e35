import json

import pandas as pd
import pytest

from feature_repo.readers import SourceError
from flows.story import STORIES, story_of


def write(path, year, count):
    days = pd.date_range(f"{year}-01-01", periods=count, freq="h")
    lines = [
        json.dumps({"user_id": str(number), "item_id": "1", "rating": "8", "review_date": f"{day:%B %d, %Y}"})
        for number, day in enumerate(days)
    ]
    path.write_text("\n".join(lines))
    return str(path)


def test_the_generator_drifts_with_the_second_period():
    from feature_repo.readers.generator import DRIFT_AT

    assert story_of("") == STORIES["generator"]
    assert STORIES["generator"].first == DRIFT_AT


def test_a_file_of_other_years_is_cut_by_its_ratings(tmp_path):
    story = story_of(write(tmp_path / "data.json", 2020, 10_000))
    assert story.first == pd.Timestamp("2020-07-27", tz="UTC")
    assert story.second == pd.Timestamp("2020-11-29", tz="UTC")


def test_a_file_that_is_too_small_for_three_periods_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"300 dated ratings.*run the flows one by one"):
        story_of(write(tmp_path / "data.json", 2020, 300))
