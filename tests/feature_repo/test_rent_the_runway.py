import gzip
import json

import pandas as pd
import pytest

from feature_repo.readers import SourceError, dataset_of, read
from feature_repo.readers.rent_the_runway import LONGEST_LINE

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
    assert rating["size"] == 14.0
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


def test_values_of_a_wrong_kind_are_left_for_validation_to_name(tmp_path):
    odd = {
        **LINE,
        "user_id": {"a": 1},
        "rating": "ten",
        "age": [3],
        "height": 5,
        "weight": "137",
        "category": [1],
        "size": "14XL",
    }
    source = read(write(tmp_path / "data.json.gz", LINE, odd))
    user, rating = source.users.iloc[1], source.ratings.iloc[1]
    assert user[["age", "height_cm", "weight_kg"]].tolist() == [("[3]",), ("5",), ("137",)]
    assert rating[["user_id", "rating", "source_rating"]].tolist() == [("{'a': 1}",), ("ten",), ("ten",)]
    assert rating["size"] == ("14XL",)
    assert source.ratings["size"].iloc[0] == 14.0
    assert source.users.age.iloc[0] == 28.0, "the others are numbers as ever"
    assert source.ratings.rating.iloc[0] == 5.0


@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan"), True, [], {}])
def test_numbers_beyond_all_bounds_do_not_stop_the_reader(tmp_path, value):
    odd = {**LINE, "rating": value, "age": value, "category": value, "item_id": value, "size": value}
    assert len(read(write(tmp_path / "data.json.gz", LINE, odd)).ratings) == 2


def test_whole_numbers_serve_as_ids_beside_missing_ones(tmp_path):
    source = read(write(tmp_path / "data.json.gz", {**LINE, "user_id": 420272}, {**LINE, "user_id": None}))
    assert source.ratings.user_id.tolist() == ["420272", None]


def test_ids_with_colons_do_not_run_into_each_other(tmp_path):
    ids = [("1:2", "3"), ("1", "2:3"), ("1%3A2", "3")]
    source = read(
        write(tmp_path / "data.json.gz", *[{**LINE, "user_id": user, "item_id": item} for user, item in ids])
    )
    assert source.ratings.rating_id.str.removesuffix(":0").is_unique
    assert source.ratings.rating_id.str.endswith(":0").all()
    assert source.ratings[["user_id", "rental_id"]].apply(tuple, axis=1).tolist() == ids


def renamed(line, **names):
    return {names.get(name.replace(" ", "_"), name): value for name, value in line.items()}


def test_fields_that_changed_their_name_are_all_named(tmp_path):
    line = renamed(LINE, rating="stars", item_id="product", body_type="bodytype", size="dress size")
    with pytest.raises(SourceError) as error:
        read(write(tmp_path / "data.json.gz", *[line] * 3))
    for words in (
        "no line has 'rating' (a number, as such or as text)",
        "no line has 'item_id' (text or a whole number)",
        "no line has 'body type' (text)",
        "no line has 'size' (a number, as such or as text)",
        "fields that the layout does not have: bodytype, dress size, product, stars",
        "Give the fields their names and kinds back",
    ):
        assert words in str(error.value)
    assert "'user_id'" not in str(error.value)


def test_a_field_that_must_be_there_and_is_gone_is_named(tmp_path):
    lines = [{name: value for name, value in LINE.items() if name != "rating"}] * 2
    with pytest.raises(SourceError, match=r"no line has 'rating' \([^)]*\)\. Give the fields"):
        read(write(tmp_path / "data.json.gz", *lines))


def test_fields_that_changed_their_kind_are_all_named(tmp_path):
    line = {
        **LINE,
        "rating": [10],
        "height": "173cm",
        "review_date": "2016-04-20",
        "user_id": 4.5,
        "weight": None,
        "size": "M",
    }
    with pytest.raises(SourceError) as error:
        read(write(tmp_path / "data.json.gz", *[line] * 30))
    for words in (
        "'rating' is not a number, as such or as text in 30 of 30 lines, such as [10]",
        "'height' is not feet and inches like 5' 8\" in 30 of 30 lines, such as '173cm'",
        "'review_date' is not a day like April 20, 2016 in 30 of 30 lines, such as '2016-04-20'",
        "'user_id' is not text or a whole number in 30 of 30 lines, such as 4.5",
        "'size' is not a number, as such or as text in 30 of 30 lines, such as 'M'",
    ):
        assert words in str(error.value)
    assert "'weight'" not in str(error.value), "nothing is known of it, and no field is new"


def test_a_new_field_and_one_that_is_absent_in_some_lines_are_no_fault(tmp_path):
    without = {name: value for name, value in LINE.items() if name != "weight"}
    assert len(read(write(tmp_path / "data.json.gz", LINE, *[{**without, "new": 1}] * 30)).ratings) == 31
    assert len(read(write(tmp_path / "data.json.gz", without, without)).ratings) == 2


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
    assert after.ratings.arrived_at.equals(after.ratings.event_timestamp)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "data.json.gz"
    write(path, *[{**LINE, "user_id": str(number)} for number in range(1000)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match=r"truncated.*download it again"):
        read(str(path))


@pytest.mark.parametrize(("name", "content"), [("d.json", b""), ("d.json.gz", b""), ("d.json", b"\n \n\r\n")])
def test_an_empty_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match="holds no line"):
        read(str(tmp_path / name))
    with pytest.raises(SourceError, match="holds no line"):
        read(write(tmp_path / "data.json.gz"))


def test_a_file_that_is_no_gzip_is_refused(tmp_path):
    path = tmp_path / "data.json.gz"
    path.write_text(json.dumps(LINE))
    with pytest.raises(SourceError, match="not gzip"):
        read(str(path))


def test_a_file_that_ends_in_mid_line_keeps_what_is_there(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(LINE) + "\n" + json.dumps(LINE)[:-40])
    source = read(str(path))
    assert len(source.ratings) == 1
    assert source.unparsed.line.tolist() == [json.dumps(LINE)[:-40]]


@pytest.mark.parametrize("excess", [0, 1, 50_000_000, 2 * LONGEST_LINE])
def test_a_line_that_is_too_long_is_kept_by_its_beginning_and_stops_nothing(tmp_path, excess):
    path = tmp_path / "data.json"
    good = json.dumps(LINE).encode()
    path.write_bytes(good + b"\n" + b"x" * (LONGEST_LINE + excess) + b"\n" + good)
    source = read(str(path))
    assert len(source.ratings) == 2
    assert source.unparsed.line.str.len().tolist() == [LONGEST_LINE]
    assert (
        source.unparsed.reason[0] == "line 2 is longer than 1,000,000 bytes: only its beginning is kept here"
    )


def test_a_line_of_just_the_longest_length_is_read(tmp_path):
    path = tmp_path / "data.json"
    line = json.dumps({**LINE, "review_text": ""})
    line = line.replace('"review_text": ""', f'"review_text": "{"x" * (LONGEST_LINE - 1 - len(line))}"')
    path.write_text(line + "\n" + line)
    source = read(str(path))
    assert (len(source.ratings), len(source.unparsed)) == (2, 0)


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
    assert source.ratings["size"].between(0, 58).all()
    assert source.unparsed.empty
