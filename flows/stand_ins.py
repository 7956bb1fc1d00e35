"""What a dry run deploys to: an S3 server and a recorder of what Kubernetes is sent, both of this machine."""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from flows.settings import FlowSettings

HERE = "127.0.0.1"
BUCKET = "rentals"


class StandInError(RuntimeError):
    """A stand-in cannot be started; the message names the remedy."""


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """Run an S3 server with an empty bucket, and tell the variables by which Metaflow finds it.

    Raises:
        StandInError: moto is not installed.
    """
    import boto3

    try:
        from moto.server import ThreadedMotoServer
    except ModuleNotFoundError as error:
        raise StandInError(
            "no S3 server is installed here: pip install '.[dev]', or set METAFLOW_DATASTORE_SYSROOT_S3"
        ) from error

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address=HERE, port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        account = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nobody"}
        boto3.client(
            "s3", endpoint_url=address, region_name="us-east-1", **{k.lower(): v for k, v in account.items()}
        ).create_bucket(Bucket=BUCKET)
        yield account | {
            "AWS_DEFAULT_REGION": "us-east-1",
            # Nothing is asked of the network's own address for accounts.
            "AWS_EC2_METADATA_DISABLED": "true",
            "METAFLOW_DATASTORE_SYSROOT_S3": f"s3://{BUCKET}/metaflow",
            "METAFLOW_S3_ENDPOINT_URL": address,
        }
    finally:
        server.stop()


@contextmanager
def cluster() -> Iterator[tuple[dict[str, str], list[dict[str, Any]]]]:
    """Run an empty Kubernetes that takes everything.

    Yields:
        The variables by which Metaflow finds it, and the resources that it has been sent.
    """
    sent: list[dict[str, Any]] = []

    class Recorder(BaseHTTPRequestHandler):
        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._answer(404, {"message": "there is nothing yet"})

        def do_POST(self) -> None:
            sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(201, sent[-1])

        def log_message(self, *arguments: Any) -> None:
            """Be silent."""

    with ThreadingHTTPServer((HERE, 0), Recorder) as server, tempfile.TemporaryDirectory() as temporary:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield _variables(server.server_port, Path(temporary)), sent
        finally:
            server.shutdown()


def _variables(port: int, folder: Path) -> dict[str, str]:
    known = {"name": "here", "cluster": {"server": f"http://{HERE}:{port}"}}
    context = {"name": "here", "context": {"cluster": "here", "user": "here"}}
    account = {"name": "here", "user": {}}
    config = {"clusters": [known], "contexts": [context], "users": [account], "current-context": "here"}
    (folder / "kubeconfig").write_text(json.dumps(config))
    # Metaflow caches the tokens of deployments beside its configuration; those of real ones must stay.
    configuration = FlowSettings().home / "metaflow" / "config"
    if configuration.exists():
        shutil.copytree(configuration, folder / "metaflow")
    return {"KUBECONFIG": str(folder / "kubeconfig"), "METAFLOW_HOME": str(folder / "metaflow")}
