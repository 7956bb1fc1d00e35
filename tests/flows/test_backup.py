"""Backups of a home in use: what they hold, and that nothing damaged, foreign or half takes its place."""

import json
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.backup import BackupError, contents
from flows.backup import make as making
from flows.backup import restore as restoring
from flows.backup.make import make
from flows.backup.restore import restore
from flows.deployment import serve
from flows.doctor import machine
from flows.doctor.examination import Ailment
from monitoring.prediction_log import Feedback, PredictionLog, read_feedback
from serving.decision_log import Action, DecisionLog
from serving.settings import ServingSettings

Restore = Callable[..., Path | None]


def write(home: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = home / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(home: Path) -> dict[str, str]:
    """The files of a home by name, databases as their statements."""
    found = {}
    for name in contents.files(home):
        if contents.is_database(home / name):
            with closing(sqlite3.connect(home / name)) as database:
                found[str(name)] = "\n".join(database.iterdump())
        else:
            found[str(name)] = (home / name).read_text()
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with a file or two of each kind, and a database that is open, with all its rows in its log."""
    home = tmp_path / "home"
    write(
        home,
        **{"lake__ratings__a": "ratings", "lake__FEATURES": "mark", "metaflow__.metaflow__Flow__1": "a run"},
        **{"api-keys": "a hash", "logs__api.log": "a log", "run__envoy__x": "", "tmp__x": "", "skew": ""},
        **{
            "lake__.b.tmp": "half",
            "stream__checkpoint__0": "offsets",
            "stream__inbox__1": "an event",
        },
    )
    (home / "api-keys").chmod(0o600)
    DecisionLog(ServingSettings(home=home).decisions).append("v1", "v2", 5, Action.START, ["a reason"])
    with closing(sqlite3.connect(home / "retrainings.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        with database:
            database.execute("CREATE TABLE one (number)")
            database.execute("INSERT INTO one VALUES (7)")
        assert (home / "retrainings.db-wal").stat().st_size
        yield home


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    return make(home, tmp_path / "backups")


@pytest.fixture
def bring(home: Path) -> Restore:
    def bring(folder: Path, replace: bool = False, into: Path = home) -> Path | None:
        return restore(folder, FeatureSettings(home=into), replace)[1]

    return bring


def test_it_holds_all_but_what_is_written_again(home: Path, folder: Path) -> None:
    assert {str(name) for name in contents.files(folder / "home")} == {
        *("api-keys", "lake/FEATURES", "lake/ratings/a", "metaflow/.metaflow/Flow/1"),
        *("retrainings.db", "run/decisions.db", "skew", "stream/inbox/1"),
    }
    assert (folder.stat().st_mode & 0o777, (folder / "home/api-keys").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    assert not list(home.glob(".backup/*"))


def test_it_comes_back_as_it_was_rows_that_were_only_in_a_log_included(
    home: Path, folder: Path, bring: Restore
) -> None:
    before, written_at = content(home), (home / "lake/ratings/a").stat().st_mtime_ns
    shutil.rmtree(home)
    assert bring(folder) is None
    assert content(home) == before
    assert "VALUES(7)" in before["retrainings.db"]
    assert (home / "lake/ratings/a").stat().st_mtime_ns == written_at, "by which the stream knows a batch"
    lake.check_room(home)


def test_other_tools_can_check_it(folder: Path) -> None:
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    (folder / "home" / "skew").write_text("other")
    assert subprocess.run(check, cwd=folder, check=False, capture_output=True).returncode == 1


def test_a_link_to_another_disk_is_followed(home: Path, tmp_path: Path, bring: Restore) -> None:
    write(tmp_path / "disk", b="on another disk")
    (home / "lake" / "users").symlink_to(tmp_path / "disk")
    folder = make(home, tmp_path / "backups")
    shutil.rmtree(home)
    bring(folder)
    assert (home / "lake" / "users" / "b").read_text() == "on another disk"


def test_what_is_written_meanwhile_is_in_it_whole_or_not_at_all(
    home: Path, tmp_path: Path, bring: Restore
) -> None:
    with closing(sqlite3.connect(home / "pairs.db")) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript("CREATE TABLE one (n); CREATE TABLE other (n)")
    done, acknowledged = threading.Event(), [0]

    def write_on() -> None:
        with closing(sqlite3.connect(home / "pairs.db")) as database, PredictionLog(home / "lake") as log:
            while not done.is_set():
                number = acknowledged[0] + 1
                with database:
                    database.execute("INSERT INTO one VALUES (?)", [number])
                    database.execute("INSERT INTO other VALUES (?)", [number])
                log.feedback(Feedback(f"q{number}", "u", "r", 5.0, datetime.now(UTC)))
                log.flush()
                acknowledged[0] = number

    writer = threading.Thread(target=write_on)
    writer.start()
    backups = []
    try:
        while len(backups) < 3:
            known = acknowledged[0]
            backups.append((known, make(home, tmp_path / "backups" / str(len(backups)))))
    finally:
        done.set()
        writer.join()
    for known, folder in backups:
        shutil.rmtree(home)
        bring(folder)
        with closing(sqlite3.connect(home / "pairs.db")) as database:
            one = database.execute("SELECT * FROM one").fetchall()
            other = database.execute("SELECT * FROM other").fetchall()
        assert one == other and len(one) >= known
        assert set(read_feedback(home / "lake")["request_id"]) >= {f"q{n + 1}" for n in range(known)}


def test_no_view_is_replaced_while_the_others_are_taken(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, link = [], making._link

    def linking(source: Path, target: Path) -> None:
        if source.is_relative_to(home / "lake"):
            with (
                pytest.raises(lake.LakeError, match="wait until it has ended"),
                lake.exclusive(home / "lake" / "features"),
            ):
                pass
            tried.append(source)
        link(source, target)

    monkeypatch.setattr(making, "_link", linking)
    make(home, tmp_path / "backups")
    assert len(tried) == 2


def flip(folder: Path) -> None:
    path = folder / "home" / "lake" / "ratings" / "a"
    path.write_text(path.read_text().replace("r", "R", 1))


def restate(folder: Path) -> None:
    path = folder / "BACKUP.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"home": "/elsewhere"}))


def outdate(folder: Path) -> None:
    path = folder / "BACKUP.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def cut(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    path.write_text(path.read_text()[:-10])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, "home/lake/ratings/a is changed; take another one"),
        (restate, "BACKUP.json is changed"),
        (outdate, "made by newer code"),
        (cut, "take another one"),
        (lambda folder: (folder / "home" / "api-keys").unlink(), "home/api-keys is missing"),
        (lambda folder: write(folder, home__lake__b="more"), "home/lake/b is not part of it"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), "no whole backup"),
        (shutil.rmtree, "name a folder that `make backup` has printed"),
    ],
)
def test_a_damaged_or_foreign_backup_changes_nothing(
    home: Path, folder: Path, bring: Restore, damage: Callable[[Path], None], message: str
) -> None:
    before = content(home)
    damage(folder)
    with pytest.raises(BackupError, match=message):
        bring(folder, replace=True)
    assert content(home) == before
    lake.check_room(home)


def test_a_home_with_data_is_set_aside_and_only_when_told(home: Path, folder: Path, bring: Restore) -> None:
    before = content(home)
    write(home, skew="newer", search__best="newer")
    with pytest.raises(BackupError, match="REPLACE=1"):
        bring(folder)
    aside = bring(folder, replace=True)
    assert content(home) == before
    assert aside and (aside / "skew").read_text() == (aside / "search/best").read_text() == "newer"
    assert (home / "logs/api.log").read_text() == "a log"


def test_nothing_is_restored_beneath_what_runs(
    home: Path, folder: Path, bring: Restore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lake.exclusive(home / "stream" / "run"), pytest.raises(lake.LakeError, match="another run"):
        bring(folder, replace=True)
    monkeypatch.setattr(restoring, "status", lambda settings: SimpleNamespace(running=True))
    with pytest.raises(BackupError, match="make down"):
        bring(folder, replace=True)


def test_a_restore_that_is_killed_while_it_copies_leaves_all_as_it_was(
    home: Path, folder: Path, bring: Restore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(home)
    monkeypatch.setattr(restoring, "copy", kill)
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
    with pytest.raises(KeyboardInterrupt):
        bring(folder, replace=True)
    monkeypatch.undo()
    assert content(home) == before
    lake.check_room(home)


def kill(*_: Path) -> str:
    raise KeyboardInterrupt


def test_a_restore_that_is_killed_at_any_move_is_known_as_half_and_can_be_repeated(
    home: Path, folder: Path, bring: Restore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, move, left = content(home), Path.rename, [0]

    def rename(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return move(self, target)

    for survived in range(2 * len(contents.entries(folder / "home"))):
        left[0] = survived
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "rename", rename)
            bring(folder, replace=True)
        with pytest.raises(lake.LakeError, match="half restored"):
            lake.check_room(home)
        left[0] = 99
        bring(folder)
        assert content(home) == before
        lake.check_room(home)


def test_nothing_serves_or_is_called_well_in_a_half_restored_home(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENTALS_HOME", str(home))
    assert str(home) in machine.home()
    (home / lake.HALF_RESTORED).touch()
    with pytest.raises(Ailment, match="make restore again"):
        machine.home()
    with pytest.raises(lake.LakeError, match="run `make restore` again"):
        serve(1)


def test_a_backup_that_is_killed_leaves_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "copy", kill)
    with pytest.raises(KeyboardInterrupt):
        make(home, tmp_path / "backups")
    assert not list((tmp_path / "backups").iterdir()) and not (home / ".backup").exists()


def test_what_cannot_be_backed_up_is_told_with_the_remedy(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackupError, match="name another disk"):
        make(home, home / "backups")
    with pytest.raises(BackupError, match="RENTALS_HOME"):
        make(tmp_path / "nowhere", tmp_path / "backups")
    write(tmp_path, file="")
    with pytest.raises(BackupError, match="write the other"):
        make(home, tmp_path / "file")
    with monkeypatch.context() as patch, pytest.raises(BackupError, match="free some space"):
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
        make(home, tmp_path / "backups")
    damaged = bytearray((home / "run" / "decisions.db").read_bytes())
    damaged[4096:8192] = b"x" * 4096
    (home / "run" / "decisions.db").write_bytes(damaged)
    with pytest.raises(BackupError, match=r"decisions\.db is damaged"):
        make(home, tmp_path / "backups")
    assert not list((tmp_path / "backups").iterdir())
