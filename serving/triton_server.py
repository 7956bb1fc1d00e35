"""How a real ``tritonserver`` is started for a predictor, out of Triton's own environment."""

import filecmp
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from serving.settings import CHECKOUT, ServingSettings

BACKEND_SOURCES = CHECKOUT / "serving" / "backends"

EXIT_SECONDS = 1
"""Triton's patience when it is stopped; a predictor is stopped after its last request, so little is left."""


class TritonInstallationError(RuntimeError):
    """Triton's environment is absent or incomplete; the message names the remedy."""


@dataclass(frozen=True)
class TritonPorts:
    """Ports of one tritonserver on 127.0.0.1."""

    http: int
    grpc: int
    metrics: int


@dataclass(frozen=True)
class TritonInstallation:
    """Where the parts of Triton lie."""

    server: Path
    python_backend: Path
    stub: Path
    libraries: tuple[Path, ...]
    binaries: Path


def find_installation(settings: ServingSettings) -> TritonInstallation:
    """Locate Triton in the environment of ``settings.triton_python``.

    Raises:
        TritonInstallationError: the environment or a part of the wheel is not there.
    """
    remedy = (
        "make it by `python3.11 -m venv .venvs/triton && "
        ".venvs/triton/bin/pip install -r serving/triton-requirements.txt`, or set RENTALS_TRITON_PYTHON"
    )
    if not settings.triton_python.exists():
        raise TritonInstallationError(f"{settings.triton_python} does not exist: {remedy}")
    question = (
        "import sys, sysconfig; v = sysconfig.get_config_var; "
        "print(sysconfig.get_path('purelib'), v('LIBDIR'), '%d.%d' % sys.version_info[:2], sep='\\n')"
    )
    try:
        answer = subprocess.run(
            [settings.triton_python, "-c", question], capture_output=True, text=True, check=True, timeout=60
        )
        packages, libdir, python_version = answer.stdout.splitlines()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise TritonInstallationError(f"{settings.triton_python} is no working Python: {remedy}") from error
    triton = Path(packages) / "pytriton" / "tritonserver"
    installation = TritonInstallation(
        server=triton / "bin" / "tritonserver",
        python_backend=triton / "backends" / "python",
        stub=triton / "python_backend_stubs" / python_version / "triton_python_backend_stub",
        libraries=(Path(packages) / "nvidia_pytriton.libs", Path(libdir)),
        binaries=settings.triton_python.parent.absolute(),
    )
    for part in (installation.server, installation.python_backend, installation.stub):
        if not part.exists():
            raise TritonInstallationError(f"{part} does not exist: {remedy}")
    return installation


def assemble_backends(installation: TritonInstallation, folder: Path) -> Path:
    """Put the wheel's Python backend, its stub and this project's backends into one backend directory.

    They are copies: Triton refuses a backend whose files link to the outside.
    """
    parts = {folder / "python" / installation.stub.name: installation.stub}
    for source in installation.python_backend.iterdir():
        if source.is_file():
            parts[folder / "python" / source.name] = source
    for source in BACKEND_SOURCES.glob("*/model.py"):
        parts[folder / source.parent.name / source.name] = source
    for copy, source in parts.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.exists() and filecmp.cmp(source, copy):
            continue
        temporary = copy.with_name(f".{copy.name}.{os.getpid()}")
        shutil.copy2(source, temporary)
        temporary.replace(copy)
    return folder


def command(
    installation: TritonInstallation, directory: Path, backends: Path, repository: Path, ports: TritonPorts
) -> list[str]:
    """Command line of the server of one predictor, to be run in ``directory``.

    Paths are relative to it, because Triton hands them to a shell without quotes: a folder with a space above
    would break them. A model that does not load leaves the server up and not ready: its reason can then be
    asked for.
    """
    host = "127.0.0.1"
    return [
        str(installation.server),
        f"--model-repository={os.path.relpath(repository, directory)}",
        f"--backend-directory={os.path.relpath(backends, directory)}",
        "--exit-on-error=false",
        "--strict-readiness=true",
        "--disable-auto-complete-config",
        f"--http-address={host}",
        f"--http-port={ports.http}",
        f"--grpc-address={host}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={host}",
        f"--metrics-port={ports.metrics}",
        f"--exit-timeout-secs={EXIT_SECONDS}",
        "--log-verbose=0",
    ]


def environment(installation: TritonInstallation) -> dict[str, str]:
    """Variables the server needs.

    Triton's Python stub finds its packages by the ``python`` which stands first on ``PATH``. The rest of the
    caller's ``PATH`` is left out: another shell would otherwise be another program, and restart the champion.
    """
    return {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, installation.libraries)),
        # ONNX Runtime would write to the user's home and report to its maker.
        "ORT_DISABLE_TELEMETRY": "1",
        "PATH": os.pathsep.join([str(installation.binaries), os.defpath]),
    }
