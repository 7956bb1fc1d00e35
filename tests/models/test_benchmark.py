"""The command on small files: figures, no leakage, the same twice, every optional part."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import metrics
from models.benchmark import contenders, measure
from models.benchmark.__main__ import main
from models.benchmark.dataset import Dataset, Files, load
from models.benchmark.figures import full_ranks, ranking_figures, rating_figures, sampled_ranks
from models.benchmark.report import table
from models.benchmark.tables import FileError
from models.collaborative.interactions import Interactions
from models.collaborative.ranker import Factors


def market(folder: Path, users: int = 50, items: int = 40, seed: int = 0) -> Files:
    """Interactions with tastes, long-tailed popularity and order; the last of each user is the test."""
    draw = np.random.default_rng(seed)
    taste, place = draw.standard_normal((users, 2)), draw.standard_normal((items, 2))
    appeal = taste @ place.T - 0.7 * np.log(1 + np.arange(items))
    train, test, negatives, time = [], [], [], 0
    for user in range(users):
        chosen = np.argsort(-appeal[user] + draw.gumbel(size=items))[: draw.integers(6, 14)]
        for number, item in enumerate(chosen):
            rating = int(np.clip(np.round(3.5 + taste[user] @ place[item] / 2), 1, 5))
            time += 60
            (test if number == len(chosen) - 1 else train).append(f"u{user}\ti{item}\t{rating}\t{time}")
        others = draw.permutation(np.setdiff1d(np.arange(items), chosen))[:20]
        negatives.append("\t".join([f"(u{user},i{chosen[-1]})", *(f"i{item}" for item in others)]))
    train.append("u0\tonly in train\t3\t1")
    test.append("new user\tonly in test\t4\t99999999")
    negatives.append("(new user,only in test)\ti1\ti2")
    files = Files(*(folder / name for name in ("train", "test", "negatives", "users", "items")))
    files.train.write_text("\n".join(train) + "\n")
    files.test.write_text("\n".join(test) + "\n")
    files.negatives.write_text("\n".join(negatives) + "\n")
    files.user_features.write_text(
        "\n".join(f"u{user}|{20 + user}|{'MF'[user % 2]}" for user in range(users)) + "\n"
    )
    genres = ["Comedy|Drama", "Drama", "Action"]
    files.item_features.write_text("\n".join(f"i{item},{genres[item % 3]}" for item in range(items)) + "\n")
    return files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return market(tmp_path)


def test_rank_counts_better_items_and_half_of_the_ties() -> None:
    scores = np.array([[5.0, 4.0, 4.0, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    had = np.array([[True, False, False, False, False], [False, False, False, False, False]])
    assert full_ranks(scores, np.array([2, 0]), had).tolist() == [1.0, 4.0]
    negatives = np.array([[0, 1, 4], [1, -1, -1]])
    assert sampled_ranks(scores, np.array([2, 0]), negatives).tolist() == [1.5, 1.0]


def by_hand(tmp_path: Path) -> Dataset:
    (tmp_path / "train").write_text("1\ta\n2\tb\n")
    (tmp_path / "test").write_text("1\tb\n2\tc\n")
    (tmp_path / "negatives").write_text("(1,b)\tc\n(2,c)\ta\n")
    return load(Files(*(tmp_path / name for name in ("train", "test", "negatives"))), "ranking")


def test_ranking_figures_by_hand(tmp_path: Path) -> None:
    # Items a, b, c. User 1 had a: b against c is first. User 2 had b: c comes after a, in both comparisons.
    ranker = Factors(np.array([[9.0, 2.0, 1.0], [3.0, 9.0, 2.0]]), np.eye(3))
    figures = ranking_figures(ranker, by_hand(tmp_path))
    expected = (1 + 1 / np.log2(3)) / 2
    assert figures["full_ndcg@10"]["value"] == pytest.approx(expected)
    assert figures["sampled_ndcg@10"]["value"] == pytest.approx(expected)
    assert figures["full_hr@10"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert figures["full_ndcg@10"]["low"] == pytest.approx(1 / np.log2(3))
    assert figures["full_ndcg@10"]["high"] == 1.0


def test_blocks_do_not_change_figures(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(files, "ranking")
    draw = np.random.default_rng(0)
    ranker = Factors(draw.standard_normal((51, 3)), draw.standard_normal((data.train.item_count, 3)))
    whole = ranking_figures(ranker, data)
    monkeypatch.setattr("models.benchmark.figures.BLOCK_SCORES", 100)
    assert ranking_figures(ranker, data) == whole


def test_rating_figures_by_hand(files: Files) -> None:
    data = load(files, "rating")
    error = np.where(np.arange(len(data.test_ratings)) == 0, 3.0, -1.0)
    figures = rating_figures(data.test_ratings + error, data)
    count = len(error)
    assert figures["rmse"]["value"] == pytest.approx(np.sqrt((9 + count - 1) / count))
    assert figures["mae"]["value"] == pytest.approx((3 + count - 1) / count)
    assert figures["rmse"]["low"] < figures["rmse"]["value"] < figures["rmse"]["high"]
    with pytest.raises(ValueError, match="finite"):
        rating_figures(np.full(count, np.nan), data)


def test_data_in_codes(files: Files) -> None:
    data = load(files, "ranking")
    assert data.summary["users"] == 51
    assert data.summary["new_users_in_test"] == 1
    assert data.summary["new_items_in_test"] == len(np.setdiff1d(data.test_items, data.train.items)) >= 1
    assert data.summary["timestamps"]
    assert data.protocol.last
    assert data.protocol.negatives == 20
    assert data.user_features.shape == (51, 10)
    assert data.item_features.shape == (42, 3)


def test_a_random_split_is_seen_as_one(files: Files) -> None:
    train, test = (path.read_text().splitlines() for path in (files.train, files.test))
    files.test.write_text("\n".join(train[::7]) + "\n")
    files.train.write_text(
        "\n".join([*(line for number, line in enumerate(train) if number % 7), *test]) + "\n"
    )
    assert not load(replace(files, negatives=None), "ranking").protocol.last


def test_files_that_do_not_fit_each_other(files: Files) -> None:
    with pytest.raises(FileError, match="420 pairs are in the training file too"):
        load(replace(files, test=files.train), "ranking")
    files.negatives.write_text("(u0,i1)\ti2\n")
    with pytest.raises(FileError, match=r"test events have no line \(user u"):
        load(files, "ranking")
    files.item_features.write_text("x,Comedy\ny,Drama\n")
    with pytest.raises(FileError, match="none of its ids"):
        load(replace(files, negatives=None), "ranking")


QUICK = {"ranking": ["popularity", "implicit_library", "blend"], "rating": ["bias", "bayesian_factorization"]}


@pytest.mark.parametrize("name", QUICK["rating"])
def test_test_ratings_never_touch_predicted_ones(files: Files, name: str) -> None:
    contender = {**contenders.OWN["rating"], **contenders.BASELINES["rating"]}[name]
    data = load(files, "rating")
    assert data.blind().test_ratings is None
    before = contender(data.blind(), 1, 1).result
    lines = [line.split("\t") for line in files.test.read_text().splitlines()]
    files.test.write_text(
        "\n".join("\t".join([user, item, "1", time]) for user, item, _, time in lines) + "\n"
    )
    assert np.array_equal(contender(load(files, "rating").blind(), 1, 1).result, before)
    assert np.isfinite(before).all()


@pytest.mark.parametrize("name", QUICK["ranking"])
def test_test_items_and_negatives_never_touch_scores(files: Files, name: str) -> None:
    contender = {**contenders.OWN["ranking"], **contenders.BASELINES["ranking"]}[name]
    data = load(files, "ranking")
    moved = replace(data, test_items=np.roll(data.test_items, 1), negatives=data.negatives[::-1])
    users = np.arange(data.train.user_count)
    first, second = (contender(one.blind(), 1, 1).result.scores(users) for one in (data, moved))
    assert np.array_equal(first, second)
    assert len(data.blind().test_items) == 0
    assert data.blind().negatives is None


@pytest.mark.parametrize(("strength", "chosen"), [(0.0, 0), (1.0, 10)])
def test_held_out_ratings_choose_the_rank(files: Files, strength: float, chosen: int) -> None:
    draw = np.random.default_rng(0)
    users, items = np.nonzero(draw.random((60, 50)) < 0.5)
    taste = (draw.standard_normal((60, 2)) @ draw.standard_normal((2, 50)))[users, items]
    ratings = 3 + draw.normal(0, 0.5, 60)[users] + strength * taste + draw.normal(0, 0.5, len(users))
    known = {"train": Interactions(users, items, 60, 50), "train_ratings": ratings}
    wanted = {"test_users": users[:5], "test_items": items[:5], "user_features": None, "item_features": None}
    data = replace(load(files, "rating"), **known, **wanted)
    fitted = contenders.bayesian_factorization(data.blind(), 1, 1)
    assert fitted.details["rank"] == chosen
    assert set(fitted.details["held_out_rmse_of_rank"]) == {0, 10}


def run(files: Files, out: Path, task: str, *more: str) -> dict:
    arguments = [
        "--train",
        files.train,
        "--test",
        files.test,
        "--task",
        task,
        "--out",
        out,
        "--threads",
        "1",
        *more,
    ]
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(out.read_text())


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own takes seconds to start; one test below has it."""
    monkeypatch.setattr("models.benchmark.__main__.measure", measure._measure)


@pytest.mark.usefixtures("in_process")
def test_ranking_with_everything(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    optional = ["--negatives", files.negatives, "--user-features", files.user_features]
    optional += ["--item-features", files.item_features]
    record = run(files, tmp_path / "out.json", "ranking", *map(str, optional))
    blend = record["models"]["blend"]
    assert set(blend["figures"]) == {"full_hr@10", "full_ndcg@10", "sampled_hr@10", "sampled_ndcg@10"}
    assert set(blend["details"]["weights"]) == {"ease", "implicit_als", "softmax", "next_item", "trend"}
    assert blend["fit_seconds"] > 0
    printed = capsys.readouterr().out
    assert f"{blend['figures']['sampled_hr@10']['value']:.4f} [" in printed
    again = run(files, tmp_path / "again.json", "ranking", *map(str, optional))
    assert again["models"]["blend"]["figures"] == blend["figures"]
    assert again["models"]["blend"]["details"] == blend["details"]


@pytest.mark.usefixtures("in_process")
def test_ranking_of_bare_pairs(files: Files, tmp_path: Path) -> None:
    for path in (files.train, files.test):
        path.write_text(
            "\n".join(",".join(line.split("\t")[:2]) for line in path.read_text().splitlines()) + "\n"
        )
    blend = run(files, tmp_path / "out.json", "ranking")["models"]["blend"]
    assert set(blend["figures"]) == {"full_hr@10", "full_ndcg@10"}
    assert set(blend["details"]["weights"]) == {"ease", "implicit_als", "softmax"}


@pytest.mark.usefixtures("in_process")
def test_rating_with_and_without_features(files: Files, tmp_path: Path) -> None:
    bare = run(files, tmp_path / "bare.json", "rating")
    optional = ["--user-features", str(files.user_features), "--item-features", str(files.item_features)]
    full = run(files, tmp_path / "full.json", "rating", *optional)
    own = "bayesian_factorization"
    assert bare["models"][own]["figures"] != full["models"][own]["figures"]
    assert (
        run(files, tmp_path / "again.json", "rating", *optional)["models"][own]["figures"]
        == (full["models"][own]["figures"])
    )
    assert full["models"][own]["figures"]["rmse"]["value"] < 1.2


def test_a_model_in_a_process_of_its_own(files: Files) -> None:
    data = load(files, "ranking")
    result = measure.measure("ranking", "popularity", data, 1, 1)
    assert result["figures"] == ranking_figures(contenders.popularity(data, 1, 1).result, data)
    assert 100 < result["peak_megabytes"] < 4000


def test_a_failing_model_is_a_row_of_its_own(files: Files) -> None:
    failed = measure.measure("rating", "bias", load(files, "ranking"), 1, 1)
    assert failed == {"failure": "ValueError: this model needs ratings"}
    assert "bias failed: ValueError" in table({"bias": failed})


def test_faulty_files_end_with_the_faults(files: Files, capsys: pytest.CaptureFixture) -> None:
    files.train.write_text("1,a,good\n")
    arguments = ["--train", str(files.train), "--test", str(files.test), "--task", "rating"]
    assert main(arguments) == 2
    assert "a rating that is no number" in capsys.readouterr().err


def test_a_missing_library_is_named(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "implicit.cpu.als", None)
    with pytest.raises(ModuleNotFoundError, match="pip install implicit"):
        contenders.implicit_library(load(files, "ranking").blind(), 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ranking", "rating"])
def test_all_baselines(files: Files, tmp_path: Path, task: str) -> None:
    record = run(files, tmp_path / "out.json", task, "--baselines")
    assert list(record["models"]) == [*contenders.OWN[task], *contenders.BASELINES[task]]
    own, worst = metrics.CUT, {"ranking": 0.0, "rating": 2.0}[task]
    name = f"full_ndcg@{own}" if task == "ranking" else "rmse"
    for result in record["models"].values():
        value = result["figures"][name]["value"]
        assert np.isfinite(value)
        assert value > worst if task == "ranking" else value < worst
