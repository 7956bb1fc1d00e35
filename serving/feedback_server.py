"""How the feedback component is started, out of the environment of seldon-core."""

import os

from serving.ports import HOST
from serving.settings import ServingSettings

APPLICATION = "serving.feedback.app:create_app()"

THREADS = 8
"""Requests at once: one about an unknown answer waits a second for the lake, and no other with it."""


class FeedbackInstallationError(RuntimeError):
    """seldon-core's environment is absent; the message names the remedy."""


def check_installation(settings: ServingSettings) -> None:
    """Check that seldon-core's environment is there.

    Raises:
        FeedbackInstallationError: it is not.
    """
    server = settings.feedback_python.with_name("gunicorn")
    if not (settings.feedback_python.exists() and server.exists()):
        raise FeedbackInstallationError(
            f"{server} does not exist: make seldon-core's environment by `make setup`, or set "
            "RENTALS_FEEDBACK_PYTHON"
        )


def command(settings: ServingSettings, port: int) -> list[str]:
    """Command line of the component's server, to be run in the checkout.

    ``seldon-core-microservice``, which serves the same application, listens on every interface.
    """
    return [
        *(str(settings.feedback_python.absolute()), "-m", "gunicorn"),
        *("--bind", f"{HOST}:{port}"),
        *("--worker-class", "gthread", "--threads", str(THREADS)),
        *("--graceful-timeout", str(settings.stop_seconds)),
        APPLICATION,
    ]


def environment(settings: ServingSettings) -> dict[str, str]:
    """Variables the component needs; the names are those by which Seldon tells a pod what it is part of."""
    return {
        "PATH": os.pathsep.join([str(settings.feedback_python.parent.absolute()), os.defpath]),
        "RENTALS_HOME": str(settings.home.absolute()),
        "SELDON_DEPLOYMENT_ID": settings.deployment_name,
        "PREDICTIVE_UNIT_ID": settings.model_name,
    }
