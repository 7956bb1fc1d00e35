"""The gate of the training flow: the candidate and its rival on the same days, and what is decided."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from flows.parameters import CHAMPION
from flows.training import TrainingSet, feature_columns, split
from models.gate import GateDecision
from models.segments import GroupFigures
from models.settings import GateSettings

if TYPE_CHECKING:
    from models.recommender import Recommender
    from models.registry import ModelVersion

AGE, BODY_TYPE = "user_age", "user_segment"
"""Features by which people are parted, to see whether all are served alike."""


CATALOGUE_OF = "catalogue_of"
"""Key of the lineage of a version whose catalogue is later than its training (``flows.refreshing``)."""

OTHERS = 1_000
"""Latest requests beside which a user is seen when reasons are told."""

HALF_ROWS = 2_000
"""Real requests on which the loss of half precision is measured: its mean needs fewer."""


class RivalError(RuntimeError):
    """The champion cannot be compared with; the message names the remedy."""


@dataclass(frozen=True)
class Rival:
    """A version, its network, the time from which on it has not learnt, and that of its catalogue."""

    version: int
    model: "Recommender"
    fitted_until: pd.Timestamp
    catalogue_of: pd.Timestamp


@dataclass(frozen=True)
class Gated:
    """The decision, the candidate's figures by group, its graphs by file, and what half precision loses."""

    decision: GateDecision
    groups: tuple[GroupFigures, ...]
    graphs: dict[str, bytes]
    half: dict[str, float]
    """Plain figures: whoever reads a run needs no PyTorch."""


def gate(model: "Recommender", data: TrainingSet, against: str, settings: GateSettings) -> Gated:
    """Decide whether the model becomes a version, beside the champion or the baselines.

    Args:
        model: the candidate, fitted on the events before its test days.
        data: what it was trained on, test days included.
        against: ``CHAMPION``, or ``BASELINES`` to leave a champion out.
        settings: margins and limits.

    Raises:
        RivalError: the champion's network cannot be read by this code.
    """
    return gate_beside(champion(data, settings) if against == CHAMPION else None, model, data, settings)


def gate_beside(
    rival: Rival | None, model: "Recommender", data: TrainingSet, settings: GateSettings
) -> Gated:
    """Export the model with the catalogue as of ``data.until``, and decide whether it becomes a version.

    The window is the candidate's test days, without those from which the champion has learnt. Users' features
    are as of each event. Beside a champion, the candidate ranks the catalogue of before the window, and the
    champion its own where that is older: a later one would count the very events that it is to rank. The
    baselines see the latest one, and so does the candidate beside them.

    Args:
        rival: the champion; None for the baselines.
        model: the candidate, fitted on the events before its test days.
        data: what it was trained on, test days included.
        settings: margins and limits.
    """
    from models.adversarial import adversarial_faults
    from models.catalogues import utc
    from models.export import HALF_FILE, export_all
    from models.gate import decide
    from models.parity import agreement, parity
    from models.segments import group_figures, segments
    from models.window_scores import Window, baseline_scores, model_scores

    train, test = split(data)
    if rival:
        test = test[utc(test["event_timestamp"]) >= rival.fitted_until]
    window = Window(test, data.catalogues, feature_columns())
    users = window.events["user_id"].astype(str).to_numpy()
    groups = segments(window.events, train, AGE, BODY_TYPE)
    # A version serves with the catalogue that it was exported with: in that two versions differ too.
    own = model_scores("the candidate", model, window.frozen(data.test_from) if rival else window)
    other = (
        model_scores(
            f"version {rival.version}", rival.model, window.frozen(min(rival.catalogue_of, data.test_from))
        )
        if rival
        else baseline_scores("the baselines", window, train)
    )
    requests = data.events.tail(settings.parity_rows)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        onnx = export_all(model, data.latest, folder, others=requests.tail(OTHERS))
        decision = decide(
            own,
            other,
            window.ranked,
            users,
            groups,
            parity(model, data.latest, onnx, requests),
            adversarial_faults(onnx),
            settings,
        )
        return Gated(
            decision,
            group_figures(own, window.ranked, users, groups),
            {file.name: file.read_bytes() for file in folder.iterdir()},
            agreement(model, data.latest, folder / HALF_FILE, requests.tail(HALF_ROWS)).to_dict(),
        )


def champion(data: TrainingSet, settings: GateSettings) -> Rival | None:
    """Return the champion with the network that its graph was exported from; None where there is none.

    Raises:
        RivalError: the network cannot be read, or answers otherwise than the graph that serves.
    """
    from models.checkpoint import CheckpointError
    from models.columns import ColumnError
    from models.registry import Registry
    from models.registry_errors import RegistryError

    found = Registry().alias(CHAMPION)
    if found is None:
        return None
    try:
        return Rival(
            found.version,
            _network(found, data, settings),
            pd.Timestamp(found.lineage["fitted_until"]).tz_convert("UTC"),
            catalogue_of(found),
        )
    except (CheckpointError, ColumnError, RegistryError) as error:
        raise RivalError(
            f"the champion, version {found.version}, cannot be used: {error}; to do without it this once, "
            "train by `python flows/train.py run --against baselines`"
        ) from error


def catalogue_of(version: "ModelVersion") -> pd.Timestamp:
    """Return the time of the catalogue in a version's graph: of its training, or of its refresh."""
    lineage = version.lineage
    return pd.Timestamp(lineage.get(CATALOGUE_OF, lineage["trained_until"]), tz="UTC")


def _network(found: "ModelVersion", data: TrainingSet, settings: GateSettings) -> "Recommender":
    from models.checkpoint import FILE, CheckpointError, restore
    from models.parity import parity

    checkpoint = restore(found.artifact(FILE).read_bytes())
    checkpoint.model.encoding.columns.check_events(data.events)
    requests = data.events.tail(settings.parity_rows)
    difference = parity(checkpoint.model, checkpoint.catalogue, found.path, requests)
    if not difference < settings.parity_limit:
        raise CheckpointError(f"its network differs by {difference:.1e} from the graph that serves")
    return checkpoint.model
