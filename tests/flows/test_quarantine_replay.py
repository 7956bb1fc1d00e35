"""Quarantined rows that were mended land, once and in time; the others stay."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.ingest import ingest
from flows.quarantine_replay import RepairError, export, replay
from flows.settings import CHECKOUT
from monitoring import contracts, expectations, quarantine


@pytest.fixture
def settings(tmp_path: Path) -> FeatureSettings:
    """The generator's first year, with its bad ratings in quarantine."""
    found = FeatureSettings(home=tmp_path / "home")
    ingest("", None, pd.Timestamp("2021-06-01", tz="UTC"), found)
    return found


def quarantined(settings: FeatureSettings) -> pd.DataFrame:
    return quarantine.read(settings.lake / "quarantine", "ratings")


def test_without_a_fix_nothing_moves(settings: FeatureSettings) -> None:
    before = quarantined(settings)
    assert len(before) > 3

    done = replay(settings, "ratings")

    assert (done.landed, done.repeated, done.kept) == (0, 0, len(before))
    pd.testing.assert_frame_equal(quarantined(settings), before)
    assert replay(settings, "users").kept == 0


def test_a_mended_contract_lets_the_rows_in(
    settings: FeatureSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, clock = quarantined(settings), lake.clock(settings.lake)
    wider = tuple(
        contracts.Column("rating", "number", required=True, limits=(0.0, 11.0))
        if column.name == "rating"
        else column
        for column in contracts.TABLES["ratings"]
    )
    monkeypatch.setitem(expectations.TABLES, "ratings", wider)

    done = replay(settings, "ratings")

    off_scale = before["rating"].notna()
    assert done.landed == off_scale.sum() > 0
    assert done.kept == len(before) - done.landed
    ratings = lake.read(settings.lake, "ratings").set_index("rating_id")
    landed = ratings.loc[before.loc[off_scale, "rating_id"]]
    # Nobody could have known them before now: a feature or a model of an earlier day must not.
    assert (landed["arrived_at"] == clock).all()


def test_mended_rows_land_once_and_leave_the_quarantine(settings: FeatureSettings, tmp_path: Path) -> None:
    before = quarantined(settings)
    file = tmp_path / "rows.csv"
    assert export(settings, "ratings", file) == len(before)
    rows = pd.read_csv(file, dtype=object)
    rows.loc[0, "rating"] = "4"
    rows.loc[1:, "rating"] = "no idea"
    rows.to_csv(file, index=False)

    first = replay(settings, "ratings", file)
    assert (first.landed, first.kept) == (1, len(before) - 1)
    ratings = lake.read(settings.lake, "ratings").set_index("rating_id")
    assert ratings.loc[before.loc[0, "rating_id"], "rating"] == 4.0
    assert set(quarantined(settings)["row_id"]) == set(before["row_id"][1:])
    with pytest.raises(RepairError, match=r"1 rows of .* are not in quarantine.*export anew"):
        replay(settings, "ratings", file)


def test_killed_between_the_lake_and_the_quarantine_nothing_counts_twice(
    settings: FeatureSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.csv"
    export(settings, "ratings", file)
    rows = pd.read_csv(file, dtype=object).assign(rating="4")
    rows.to_csv(file, index=False)
    count = len(lake.read(settings.lake, "ratings"))
    with monkeypatch.context() as killed:
        killed.setattr(quarantine, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            replay(settings, "ratings", file)

    done = replay(settings, "ratings", file)

    assert (done.landed, done.repeated, done.kept) == (0, len(rows), 0)
    assert len(lake.read(settings.lake, "ratings")) == count + len(rows)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", None])
def test_a_file_that_is_no_export_is_refused(
    settings: FeatureSettings, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "rows.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(RepairError, match="give a file of --export"):
        replay(settings, "ratings", file)


def test_the_command_says_what_became_of_each_table(settings: FeatureSettings, tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows", "quarantine", *arguments],
            cwd=CHECKOUT,
            env={"RENTALS_HOME": str(settings.home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    lines = command().stdout.splitlines()
    assert lines[0] == "users: 0 landed, 0 were there already, 0 still in quarantine"
    assert "still in quarantine" in lines[2] and "make features" in lines[3]
    assert "--table is missing" in command("--export", "x.csv").stderr
    assert "give users or rentals or ratings" in command("--table", "people").stderr
