import gzip
import json

import pandas as pd
import pytest

from feature_repo.readers import SourceError, dataset_of, read

LINE = {
    "fit": "fit",
    "user_id": "420272",
    "item_id": "2260466",
    "rating": "10",
    "rented for": "vacation",
    "review_date": "April 20, 2016",
    "body type": "hourglass",
    "category": "romper",
    "height": "5' 8\"",
    "weight": "137lbs",
    "size": 14,
    "age": "28",
}


def write(path, *lines):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes(gzip.compress(text.encode()))
    return str(path)


def test_a_line_becomes_a_user_a_rental_and_a_rating(tmp_path):
    source = read(write(tmp_path / "data.json.gz", LINE))
    user, rental, rating = (frame.iloc[0] for frame in (source.users, source.rentals, source.ratings))
    assert (user.user_id, user.age, user.height_cm, user.weight_kg, user.segment) == (
        "420272",
        28.0,
        172.7,
        62.1,
        "hourglass",
    )
    assert (rental.rental_id, rental.category) == ("2260466", "romper")
    assert (rating.rating, rating.source_rating, rating.purpose) == (5.0, 10.0, "vacation")
    assert (
        user.joined_at == rental.listed_at == rating.event_timestamp == pd.Timestamp("2016-04-20", tz="UTC")
    )


def test_missing_fields_stay_missing_and_keep_the_row(tmp_path):
    source = read(write(tmp_path / "data.json.gz", {"user_id": "1"}, {**LINE, "rating": None, "age": None}))
    assert len(source.ratings) == 2
    assert source.ratings.rating.isna().all()
    assert source.ratings.event_timestamp.isna().tolist() == [True, False]
    assert json.loads(source.ratings.source_text[0]) == {"user_id": "1"}


def test_lines_that_are_not_json_objects_are_kept_with_their_number(tmp_path):
    source = read(write(tmp_path / "data.json.gz", LINE, "{half a li", "[1, 2]"))
    assert len(source.ratings) == 1
    assert source.unparsed.line.tolist() == ["{half a li", "[1, 2]"]
    assert "line 2 is not JSON" in source.unparsed.reason[0]
    assert "line 3 is not a JSON object" in source.unparsed.reason[1]


def test_values_of_a_wrong_kind_do_not_stop_the_reader(tmp_path):
    odd = {**LINE, "user_id": {"a": 1}, "rating": "ten", "age": [3], "height": 5, "weight": "heavy"}
    source = read(write(tmp_path / "data.json.gz", odd))
    assert source.ratings.user_id[0] == '{"a": 1}'
    assert source.ratings.rating.isna().all()
    assert source.users[["age", "height_cm", "weight_kg"]].isna().all(axis=None)


def test_a_rental_rated_twice_on_a_day_has_two_ids_and_they_are_stable(tmp_path):
    path = write(tmp_path / "data.json.gz", LINE, {**LINE, "rating": "4"})
    first, again = read(path).ratings.rating_id, read(path).ratings.rating_id
    assert first.is_unique
    assert first.tolist() == again.tolist()


def test_the_profile_is_that_of_the_first_review(tmp_path):
    later = {**LINE, "review_date": "May 1, 2017", "age": "29", "item_id": "2"}
    first = {**LINE, "age": None}
    source = read(write(tmp_path / "data.json.gz", later, first))
    assert len(source.users) == 1
    assert pd.isna(source.users.age.iloc[0]), "an age that became known later would leak"


def test_bytes_and_json_that_break_a_parser_are_kept_as_they_came(tmp_path):
    path = tmp_path / "data.json"
    broken = [b'{"user_id": "Z\xff"}', b"1" * 5000, b"[" * 100_000]
    path.write_bytes(b"\n".join([json.dumps(LINE).encode(), *broken]))
    source = read(str(path))
    assert len(source.ratings) == 1
    assert source.unparsed.line.tolist() == ['{"user_id": "Z\\xff"}', "1" * 5000, "[" * 100_000]


def test_periods_part_the_rows_and_those_without_a_time_come_with_each(tmp_path):
    undated = {**LINE, "review_date": "some day", "user_id": "2", "item_id": "3"}
    source = read(write(tmp_path / "data.json.gz", LINE, undated, "broken"))
    border = pd.Timestamp("2016-04-20", tz="UTC")
    before, after = source.period(None, border), source.period(border, None)
    assert before.ratings.user_id.tolist() == ["2"]
    assert after.ratings.user_id.tolist() == ["420272", "2"]
    assert (len(before.unparsed), len(after.unparsed)) == (1, 1)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "data.json.gz"
    write(path, *[{**LINE, "user_id": str(number)} for number in range(1000)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match=r"truncated.*download it again"):
        read(str(path))


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(SourceError, match="holds no line"):
        read(write(tmp_path / "data.json.gz"))


def test_a_missing_file_and_an_unknown_dataset_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(SourceError, match=r"does not exist: give DATA="):
        dataset_of(str(tmp_path / "nothing.json.gz"))
    (tmp_path / "movies.csv").write_text("a,b")
    with pytest.raises(SourceError, match=r"no reader knows movies\.csv"):
        dataset_of(str(tmp_path / "movies.csv"))


def test_the_real_file_reads_whole(shared):
    source = read(str(shared / "data" / "rent_the_runway" / "renttherunway_final_data.json.gz"))
    assert (len(source.ratings), len(source.users), len(source.rentals)) == (192_544, 105_571, 5_850)
    assert source.ratings.rating.isna().sum() == 82
    assert source.unparsed.empty
