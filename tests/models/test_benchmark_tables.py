"""Files of every layout are read alike; every fault is told, all at once."""

from pathlib import Path

import pandas as pd
import pytest

from models.benchmark.tables import FileError, read_features, read_interactions, read_negatives

ROWS = [("1", "a", 5.0, 100.0), ("2", "b", 3.5, 200.0)]
EXPECTED = pd.DataFrame(ROWS, columns=["user", "item", "rating", "timestamp"])


def written(folder: Path, text: str, name: str = "file.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults(reading, *arguments) -> str:
    with pytest.raises(FileError) as raised:
        reading(*arguments)
    return str(raised.value)


@pytest.mark.parametrize("separator", ["\t", ",", "::", ";", "|"])
@pytest.mark.parametrize("header", [[], ["userId", "movieId", "rating", "timestamp"]])
def test_any_separator_with_and_without_header(tmp_path: Path, separator: str, header: list[str]) -> None:
    lines = [*([header] if header else []), *([str(field) for field in row] for row in ROWS)]
    path = written(tmp_path, "\n".join(separator.join(line) for line in lines) + "\n\n")
    pd.testing.assert_frame_equal(read_interactions(path, rated=True), EXPECTED)


def test_parquet_dates_and_columns_in_any_order(tmp_path: Path) -> None:
    frame = EXPECTED[["timestamp", "item", "rating", "user"]].assign(other=1)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    frame.to_parquet(tmp_path / "file.parquet")
    read = read_interactions(tmp_path / "file.parquet", rated=True)
    pd.testing.assert_frame_equal(read[EXPECTED.columns.to_list()], EXPECTED)
    text = written(tmp_path, "date,user_id,item_id\n1970-01-01 00:01:40,1,a\n1970-01-01 00:03:20,2,b\n")
    assert read_interactions(text, rated=False)["timestamp"].tolist() == [100.0, 200.0]


def test_recbole_names_and_quoted_ids(tmp_path: Path) -> None:
    path = written(tmp_path, 'user_id:token,item_id:token,rating:float\n"1, x",a,5\n2,b,3.5\n')
    assert read_interactions(path, rated=True)["user"].tolist() == ["1, x", "2"]


def test_rating_and_timestamp_are_optional_for_rankings(tmp_path: Path) -> None:
    path = written(tmp_path, "1\ta\n2\tb\n")
    assert read_interactions(path, rated=False).columns.tolist() == ["user", "item"]
    assert "no ratings" in faults(read_interactions, path, True)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "1,a,5,100\n1,a,4,100\n,b,good,100\n2,c,inf,never\n3,d,1,1\n")
    told = faults(read_interactions, path, True)
    assert "1 rows with no user: row 3" in told
    assert "2 rows with a rating that is no number: row 3, 4" in told
    assert "1 rows with a timestamp that is neither a number nor a date: row 4" in told
    assert "2 rows with a pair of user and item that comes more than once (keep one): row 1, 2" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no rows"),
        ("\n \n", "no rows"),
        ("user,item,rating\n", "no rows"),
        ("user,thing,rating\n1,a,3\n", "no column for the item: there are user, thing, rating"),
        ("user,item,item\n1,a,3\n", "two columns for the item"),
        ("1,a,3,4,5\n2,b,3,4,5\n", "5 columns without a header"),
        ("alone\nlonely\n", "1 columns without a header"),
        ("1,a,3\n2,b\n3,c,1\n", "1 rows have not 3 fields as the first one: row 2"),
    ],
)
def test_files_that_are_no_interactions(tmp_path: Path, text: str, told: str) -> None:
    assert told in faults(read_interactions, written(tmp_path, text), False)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in faults(read_interactions, tmp_path / "none", False)


@pytest.mark.parametrize(
    "line", ["({0},{1})\tx\ty\n", "{0}\t{1}\tx\ty\n", "{0},{1},x,y\n", "({0}, {1}),x,y\n"]
)
def test_negatives_of_both_layouts(tmp_path: Path, line: str) -> None:
    read = read_negatives(written(tmp_path, line.format("0", "25") + line.format("1", "133")))
    assert read["user"].tolist() == ["0", "1"]
    assert read["item"].tolist() == ["25", "133"]
    assert read["negatives"].tolist() == [["x", "y"], ["x", "y"]]


def test_faults_of_negatives(tmp_path: Path) -> None:
    told = faults(read_negatives, written(tmp_path, "(0,1)\t2\t3\n(0,1)\t2\n(4,5)\n(6,7)\t7\t8\n"))
    assert "line 2: the same user and item" in told
    assert "line 3: a user, an item and at least one negative" in told
    assert "line 4: item 7 is among its own negatives" in told
    assert "no rows" in faults(read_negatives, written(tmp_path, ""))


def test_features_with_a_header_and_movielens_users_without(tmp_path: Path) -> None:
    named = read_features(written(tmp_path, "item_id,year,genres\n7,1995,Comedy|Drama\n8,,\n"))
    assert named.index.tolist() == ["7", "8"]
    assert named.iloc[0].tolist() == ["1995", "Comedy|Drama"]
    bare = read_features(written(tmp_path, "1|24|M|technician|85711\n2|53|F|other|94043\n"))
    assert bare.index.tolist() == ["1", "2"]
    assert bare.iloc[1].tolist() == ["53", "F", "other", "94043"]
    movies = read_features(
        written(tmp_path, "1::Toy Story (1995)::Animation|Comedy\n2::Heat::Action|Crime\n")
    )
    assert movies.iloc[1].tolist() == ["Heat", "Action|Crime"]


def test_latin_1_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "u.item"
    path.write_bytes("1|Misérables, Les\n2|Heat\n".encode("latin-1"))
    assert read_features(path).iloc[0, 0] == "Misérables, Les"


def test_faults_of_features(tmp_path: Path) -> None:
    told = faults(read_features, written(tmp_path, "id,a\n1,x\n1,y\n,z\n"))
    assert "1 rows with no id" in told
    assert "1 rows with an id that came before" in told
    assert "no features" in faults(read_features, written(tmp_path, "1\n2\n"))
