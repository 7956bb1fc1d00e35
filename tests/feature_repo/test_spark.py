import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from feature_repo.settings import FeatureSettings
from feature_repo.spark import SparkError, session

pytestmark = pytest.mark.slow


def test_spark_starts_without_a_java_on_the_machine_and_in_utc(tmp_path):
    """In a process of its own: no java on PATH, a JAVA_HOME that is wrong, a time zone that is not UTC."""
    program = (
        "from feature_repo.settings import FeatureSettings as S; from feature_repo.spark import session;"
        "print(session(S()).sql(\"select unix_timestamp(timestamp'1970-01-02 00:00:00')\").first()[0])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "PATH": f"{Path(sys.executable).parent}:{tmp_path}:/bin",
            "RENTALS_HOME": str(tmp_path),
            "JAVA_HOME": "/nowhere",
            "TZ": "Asia/Tokyo",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.split()[-1:] == ["86400"], answer.stderr


def test_an_interruption_while_java_starts_leaves_none(tmp_path):
    program = (
        "from feature_repo.settings import FeatureSettings as S; from feature_repo.spark import session;"
        "session(S())"
    )
    started = psutil.Popen(
        [sys.executable, "-c", program],
        env={"PATH": f"{Path(sys.executable).parent}:/bin", "RENTALS_HOME": str(tmp_path)},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    while not (java := [child for child in started.children() if child.name() == "java"]):
        assert started.poll() is None
        time.sleep(0.01)
    os.killpg(started.pid, signal.SIGINT)
    started.wait(60)
    _, left = psutil.wait_procs(java, 20)
    for one in left:
        one.kill()
    assert not left


def test_a_session_with_other_settings_is_refused(spark, home):
    with pytest.raises(SparkError, match="stop the other session first"):
        session(FeatureSettings(home=home, spark_master="local[1]"))
