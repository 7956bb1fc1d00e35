"""The model card: what a version is, what it is for, whom it serves how well, and who let it through."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from math import hypot
from pathlib import Path

from pydantic import TypeAdapter

from models.evaluation import Evaluation
from models.gate import GateDecision
from models.segments import FAIRNESS, GroupFigures

FOLDER = "model_card"
"""Where a version's card is kept, below its artifacts."""

DATA, MARKDOWN, HTML, MATERIALS = "card.json", "card.md", "card.html", "bill_of_materials.json"

FILES = (DATA, MARKDOWN, HTML, MATERIALS)
"""What a complete card is made of."""


LARGE_GROUP_EVENTS = 100
"""Events from which on a group counts for the largest gap: below, a gap is the noise of a few people."""

PURPOSE = (
    "Ranks the rentals of a marketplace for a user and a purpose, and predicts the rating (1..5) that the "
    "user would give."
)

INTENDED_USE = (
    "For: ordering the rentals that are shown to a user, and saying which of them the user is likely to rate "
    "well. An unknown user or rental is answered from features.",
    "Not for: decisions about people (prices, credit, who may rent), nor for inferring anything about a "
    "person from what is recommended.",
    "A person's age, height, weight and body type are inputs, to find what fits. They come from the profile "
    "and may be left out.",
)

LIMITS = (
    "It learnt from who rented and rated: what nobody was shown could not be liked, and such a preference "
    "feeds itself.",
    "The figures are of the days after its training. Tastes and seasons move; monitoring and the canary "
    "watch for it.",
    "Its catalogue is that of the training's end: what was listed later is not recommended.",
    "Gender, origin and the like are not in the data, so nothing is known of fairness towards them.",
)


@dataclass(frozen=True)
class Figure:
    """A figure on the events after the training, beside the baselines' by their names."""

    name: str
    value: float
    interval: tuple[float, float]
    baselines: dict[str, float]

    @property
    def rivals(self) -> tuple[str, ...]:
        """The baselines in words."""
        return tuple(f"{name} {value:.4f}" for name, value in self.baselines.items())


@dataclass(frozen=True)
class Approval:
    """Who or what let the version go a step further, when, and why."""

    step: str
    by: str
    at: str
    reasons: tuple[str, ...]


def approval(step: str, by: str, reasons: tuple[str, ...]) -> Approval:
    """Return an approval of this second (UTC)."""
    return Approval(step, by, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", reasons)


@dataclass(frozen=True)
class Gap:
    """The largest difference between two groups of a partition that are large enough.

    The 95 % interval takes the groups as independent: each user is in one. The largest of several differences
    is above zero by chance alone, so an interval that just excludes zero proves little.
    """

    partition: str
    figure: str
    best: str
    worst: str
    difference: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class ModelCard:
    """One version's card, after Mitchell et al., Model Cards for Model Reporting (FAT* 2019).

    Attributes:
        version: number in the registry; 0 before it has one.
        lineage: dataset with its hash and period, commit, run and so on.
        events: ratings that the model learnt from, users and rentals among them, by name.
        hyperparameters: how it was trained.
        test_events: later events, on which the figures are.
        ranked_events: those of them whose rental was in the catalogue.
        figures: figures on the later events, beside the baselines.
        groups: figures in each group.
        gate: the decision that let it in.
        approvals: in order of time.
        warnings: what whoever reads the card must know first.
    """

    version: int
    lineage: dict[str, str]
    events: dict[str, int]
    hyperparameters: dict[str, str]
    test_events: int
    ranked_events: int
    figures: tuple[Figure, ...]
    groups: tuple[GroupFigures, ...]
    gate: GateDecision
    approvals: tuple[Approval, ...]
    warnings: tuple[str, ...] = ()

    def approved(self, approved: Approval) -> "ModelCard":
        """Return the card with one more approval."""
        return replace(self, approvals=(*self.approvals, approved))

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The largest gaps between age groups and between body types, in rating error and ranking."""
        return tuple(gap for partition in FAIRNESS for gap in self._gaps(partition))

    def _gaps(self, partition: str) -> Iterator[Gap]:
        large = [
            one for one in self.groups if one.partition == partition and one.events >= LARGE_GROUP_EVENTS
        ]
        errors = sorted((one.rmse, one.rmse_interval, one.group) for one in large)
        lists = sorted(
            (-one.ndcg_at_10, one.ndcg_at_10_interval, one.group)
            for one in large
            if one.ndcg_at_10 is not None and one.ndcg_at_10_interval is not None
        )
        for figure, ordered in (("RMSE", errors), ("NDCG@10", lists)):
            if len(ordered) > 1:
                (best, best_ends, best_group), (worst, worst_ends, worst_group) = ordered[0], ordered[-1]
                gap = worst - best
                reach = hypot(*((ends[1] - ends[0]) / 2 for ends in (best_ends, worst_ends)))
                yield Gap(partition, figure, best_group, worst_group, gap, (gap - reach, gap + reach))

    def to_json(self) -> str:
        """Return the card as data."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is not a card, or one of another form.
        """
        return TypeAdapter(cls).validate_json(text)

    def render(self, suffix: str) -> str:
        """Return the card as a page, ``.html`` (opens by itself) or ``.md``."""
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            autoescape=jinja2.select_autoescape(["html"]),
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters["interval"] = _interval
        return environment.get_template(f"card{suffix}").render(
            card=self, purpose=PURPOSE, intended_use=INTENDED_USE, limits=LIMITS, large=LARGE_GROUP_EVENTS
        )

    def files(self) -> dict[str, str]:
        """Return the card's files but for the bill of materials: contents by name."""
        return {DATA: self.to_json(), MARKDOWN: self.render(".md"), HTML: self.render(".html")}


def figures_of(evaluation: Evaluation) -> tuple[Figure, ...]:
    """Return every figure of the evaluation that has an interval, with the baselines of the same name."""
    values = evaluation.to_dict()
    return tuple(
        Figure(
            name.replace("_at_", "@").replace("_", " "),
            values[name],
            values[f"{name}_interval"],
            {
                rival.removesuffix(f"_{name}").replace("_", " "): value
                for rival, value in evaluation.baselines.items()
                if rival.endswith(f"_{name}")
            },
        )
        for name in values
        if f"{name}_interval" in values
    )


def _interval(ends: tuple[float, float] | None, digits: int = 4, sign: str = "") -> str:
    return f"[{ends[0]:{sign}.{digits}f}, {ends[1]:{sign}.{digits}f}]" if ends else ""
