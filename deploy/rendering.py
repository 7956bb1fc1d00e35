"""The manifests of an overlay: kustomize's, and the SeldonDeployment that its settings make."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from flows import settings_file
from serving import manifest
from serving.files import replace_text
from serving.settings import CHECKOUT, ServingSettings
from serving.triton import predictor_name

KUBERNETES = CHECKOUT / "deploy" / "kubernetes"

IMAGES = ("rentals-flows", "rentals-api", "rentals-feedback")
"""Images that are built here; those of others are named whole where they are used."""

Document = dict[str, Any]


class RenderingError(RuntimeError):
    """The manifests cannot be rendered; the message is kustomize's."""


def overlays() -> list[str]:
    """Return the names of all overlays."""
    return sorted(path.parent.name for path in KUBERNETES.glob("overlays/*/kustomization.yaml"))


def render(overlay: Path, version: int | str, registry: str, tag: str) -> list[Document]:
    """Return every object of an overlay, the SeldonDeployment with all traffic to one version among them.

    Args:
        overlay: folder of its ``kustomization.yaml`` and ``settings.env``.
        version: of the model that serves first; later ones come by a rollout.
        registry: where the images lie, such as ``registry.example.com/rentals``.
        tag: of the images.

    Raises:
        RenderingError: kustomize refuses something, or is not there.
        ManifestError: the settings make no deployment that Seldon would take.
        ValidationError, SettingsError: they are none.
    """
    settings = settings_file.read(overlay / "settings.env", ServingSettings)
    champion = manifest.dump(manifest.render({predictor_name(version): 100}, settings))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        wrapped = {
            "resources": [
                *(
                    os.path.relpath(each.resolve(), folder)
                    for each in (overlay, overlay / "../../monitoring")
                ),
                "champion.yaml",
            ],
            "images": [{"name": image, "newName": f"{registry}/{image}", "newTag": tag} for image in IMAGES],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(wrapped))
        (folder / "champion.yaml").write_text(champion)
        # The component's manifest lies in its own room, outside of kustomize's folder.
        kustomize = ["kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)]
        kubectl = Path(sys.executable).with_name("kubectl")
        try:
            built = subprocess.run([kubectl, *kustomize], capture_output=True, text=True, check=False)
        except OSError as error:
            raise RenderingError(f"{kubectl}: {error.strerror}: install it by `make setup`") from error
    if built.returncode:
        raise RenderingError(f"{overlay}: {built.stderr.strip()}")
    return [document for document in yaml.safe_load_all(built.stdout) if document]


def is_champion(document: Document) -> bool:
    """Whether an object is the deployment whose weights rollouts change, which must be made only once."""
    name = ServingSettings.model_fields["deployment_name"].default
    return document["kind"] == "SeldonDeployment" and document["metadata"]["name"] == name


def write(documents: list[Document], folder: Path) -> list[Path]:
    """Write ``platform.yaml``, to apply whenever it changes, and ``champion.yaml``, to create once."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, champion in (("platform.yaml", False), ("champion.yaml", True)):
        part = [document for document in documents if is_champion(document) is champion]
        replace_text(folder / name, yaml.safe_dump_all(part, sort_keys=False))
        written.append(folder / name)
    return written
