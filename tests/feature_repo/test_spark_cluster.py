"""The feature job on a real Spark cluster: a standalone master and two workers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from small_marketplace import END, differing, everything, home, marketplace

from feature_repo.settings import CHECKOUT, FeatureSettings
from feature_repo.spark import SparkError, java_home, session

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 400
PROPERTIES = json.loads(os.environ["RENTALS_SPARK_CONF"])
"""Those with which all tests run Spark."""

COMPUTE = """
import sys
import pandas as pd
from feature_repo import history
from feature_repo.settings import FeatureSettings
from feature_repo.spark import session
history.compute(FeatureSettings(), pd.Timestamp(sys.argv[1]))
def of_executor(_):
    import time
    import feature_repo
    return f"{time.tzname[0]} {feature_repo.__file__}"
print(*session(FeatureSettings()).sparkContext.parallelize([0]).map(of_executor).collect())
"""


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SparkCluster:
    """A master and two workers of one core, from the distribution in the package ``pyspark``."""

    def __init__(self, folder: Path) -> None:
        import pyspark

        self._folder, self._class = folder, Path(pyspark.__file__).parent / "bin" / "spark-class"
        # Nothing that our session sets for itself, and a time zone in which naive times would be wrong.
        self._environment = {
            "PATH": os.environ["PATH"],
            "JAVA_HOME": str(java_home(FeatureSettings(home=folder))),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": PROPERTIES["spark.driver.defaultJavaOptions"],
            "SPARK_CONF_DIR": str(CHECKOUT / "feature_repo" / "spark_configuration"),
            "TZ": "Asia/Tokyo",
        }
        self._started: list[psutil.Process] = []
        self._workers: dict[str, psutil.Process] = {}
        self._port, self._page = free_port(), free_port()
        self.url = f"spark://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._start("master.Master", "--port", str(self._port), "--webui-port", str(self._page))
        for name in ("one", "two"):
            self._workers[name] = self._start(
                *("worker.Worker", "--cores", "1", "--memory", "1g", "--webui-port", str(free_port())),
                *("--work-dir", str(self._folder / name), self.url),
                SPARK_LOCAL_DIRS=str(self._folder / name / "local"),
            )
        wait_for(lambda: len(self.alive()) == 2, "the workers do not register")

    def _start(self, kind: str, *options: str, **environment: str) -> psutil.Process:
        command = [str(self._class), f"org.apache.spark.deploy.{kind}", "--host", "127.0.0.1", *options]
        with (self._folder / f"{kind}-{len(self._started)}.log").open("wb") as log:
            process = psutil.Popen(
                command,
                env=self._environment | environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def alive(self) -> list[dict[str, Any]]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self._page}/json/", trust_env=False).json()
        except (httpx.TransportError, json.JSONDecodeError):
            # The page listens before all its routes are there: until then `/` answers for `/json/`, in HTML.
            return []
        return [worker for worker in answer["workers"] if worker["state"] == "ALIVE"]

    def with_work(self) -> str | None:
        """Name of a worker that holds what a task of its has computed for the next ones."""
        found = (
            name for name in self._workers if any((self._folder / name / "local").rglob("shuffle_*.data"))
        )
        return next(found, None)

    def kill(self, name: str) -> None:
        """Kill a worker, its executors and their Python."""
        kill(self._workers[name])

    def close(self) -> None:
        for process in self._started:
            kill(process)


def kill(process: psutil.Process) -> None:
    """Kill a process and its descendants; the executors' Python leaves the group of its parent."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    running = SparkCluster(tmp_path_factory.mktemp("cluster"))
    try:
        running.start()
        yield running
    finally:
        running.close()


def computing(settings: FeatureSettings, cluster: SparkCluster) -> psutil.Popen:
    """The feature job in a process of its own, as a flow's step is one."""
    properties = PROPERTIES | {
        "spark.cores.max": "2",
        "spark.executor.memory": "512m",
        "spark.scheduler.minRegisteredResourcesRatio": "1",
        "spark.shuffle.io.retryWait": "100ms",
    }
    environment = {
        "PATH": os.environ["PATH"],
        "RENTALS_HOME": str(settings.home),
        "RENTALS_SPARK_MASTER": cluster.url,
        "RENTALS_SPARK_DRIVER_MEMORY": "512m",
        "RENTALS_SPARK_CONF": json.dumps(properties),
    }
    command = [sys.executable, "-c", COMPUTE, str(END)]
    return psutil.Popen(
        command,
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def result_of(job: psutil.Popen) -> str:
    """What the job printed, when it has ended well."""
    try:
        printed, said = job.communicate(timeout=PATIENCE_SECONDS)
    finally:
        kill(job)
    assert job.returncode == 0, said
    return str(printed)


def test_it_gives_the_features_of_a_laptop_by_the_drivers_own_code_in_utc(cluster, whole, tmp_path):
    settings = home(tmp_path, marketplace())
    zone, code = result_of(computing(settings, cluster)).split()
    assert (zone, code) == ("UTC", "./rentals_code.zip/feature_repo/__init__.py")
    assert differing(everything(settings), whole) == []


def test_a_worker_that_is_killed_amid_it_changes_nothing(cluster, whole, tmp_path):
    settings = home(tmp_path, marketplace())
    job = computing(settings, cluster)
    try:
        killed = wait_for(cluster.with_work, "no worker has begun")
        cluster.kill(killed)
        assert job.poll() is None, "it ended before the worker was killed"
    finally:
        result_of(job)
    wait_for(lambda: len(cluster.alive()) == 1, "the master does not miss the worker")
    assert differing(everything(settings), whole) == []


def test_a_driver_that_other_machines_cannot_reach_is_told(tmp_path):
    settings = FeatureSettings(home=tmp_path, spark_master="spark://spark.example.com:7077")
    with pytest.raises(SparkError, match="set RENTALS_SPARK_DRIVER_HOST"):
        session(settings)
