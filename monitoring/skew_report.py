"""How far the features that were served are from those recomputed: in words and in plain values."""

from dataclasses import asdict, dataclass
from typing import Any

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Example:
    """One difference to look into; None is a missing value."""

    request_id: str
    served: Value
    recomputed: Value

    def __str__(self) -> str:
        """The two values and where they stand in the log."""
        return f"request {self.request_id}: served {_text(self.served)}, recomputed {_text(self.recomputed)}"


@dataclass(frozen=True)
class FeatureSkew:
    """What became of one feature.

    Attributes:
        name: the feature.
        compared: requests whose entry in the log names it.
        differing: those of them for which the two values differ.
        served_missing: of these, nothing was served although there is a value.
        recomputed_missing: of these, a value was served although there is none.
        largest_difference: of two numbers, in the feature's unit; None where no two numbers differ.
        largest_relative_difference: the same, over the larger of the two magnitudes (0..2).
        example: the numbers which differ most, or the first difference of another kind.
    """

    name: str
    compared: int
    differing: int
    served_missing: int
    recomputed_missing: int
    largest_difference: float | None
    largest_relative_difference: float | None
    example: Example | None

    @property
    def share(self) -> float:
        """Share of the compared cells that differ."""
        return self.differing / self.compared if self.compared else 0.0

    def to_text(self) -> str:
        """Return how the values differ, in one line."""
        words = []
        if self.largest_difference is not None:
            words.append(f"by at most {self.largest_difference:.4g} ({self.largest_relative_difference:.2%})")
        if self.served_missing:
            words.append(f"{self.served_missing:,} served as missing")
        if self.recomputed_missing:
            words.append(f"{self.recomputed_missing:,} served without there being a value")
        return "; ".join([*words, str(self.example)])


@dataclass(frozen=True)
class SkewReport:
    """The comparison of a sample of requests.

    Attributes:
        features: every feature that was served and recomputed, in the order of the recomputed ones.
        requests: how many were compared.
        differing_requests: those with at least one difference.
        not_recomputed: features which were served and do not exist (any more).
        not_served: features which exist and were served in no request.
    """

    features: tuple[FeatureSkew, ...]
    requests: int
    differing_requests: int
    not_recomputed: tuple[str, ...]
    not_served: tuple[str, ...]

    @property
    def differing_cells_share(self) -> float:
        """Share of all compared values that differ."""
        return sum(feature.differing for feature in self.features) / self._cells if self._cells else 0.0

    @property
    def differing_requests_share(self) -> float:
        """Share of the requests with at least one difference."""
        return self.differing_requests / self.requests if self.requests else 0.0

    @property
    def _cells(self) -> int:
        return sum(feature.compared for feature in self.features)

    def above(self, threshold: float) -> list[str]:
        """Names of the features of which a larger share than ``threshold`` differs, largest share first."""
        return [feature.name for feature in self._by_share() if feature.share > threshold]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON takes."""
        return {
            "requests": self.requests,
            "differing_requests": self.differing_requests,
            "differing_requests_share": self.differing_requests_share,
            "differing_cells_share": self.differing_cells_share,
            "not_recomputed": list(self.not_recomputed),
            "not_served": list(self.not_served),
            "features": [asdict(feature) | {"share": feature.share} for feature in self.features],
        }

    def to_text(self, threshold: float) -> str:
        """Return a table for people: the features that differ, largest share first, and what was left out."""
        differing = [feature for feature in self._by_share() if feature.differing]
        width = max((len(feature.name) for feature in differing), default=0)
        lines = [
            f"{self.differing_requests_share:.2%} of {self.requests:,} requests differ, "
            f"{self.differing_cells_share:.3%} of {self._cells:,} values"
        ]
        for feature in differing:
            verdict = "SKEW" if feature.share > threshold else "some"
            lines.append(f"{verdict}  {feature.name:{width}}  {feature.share:7.2%}  {feature.to_text()}")
        lines.append(f"features that are the same in every request: {len(self.features) - len(differing)}")
        if self.not_recomputed:
            lines.append(f"served, but not among the features: {', '.join(self.not_recomputed)}")
        if self.not_served:
            lines.append(f"among the features, but never served: {', '.join(self.not_served)}")
        return "\n".join(lines)

    def _by_share(self) -> list[FeatureSkew]:
        return sorted(self.features, key=lambda feature: -feature.share)


def _text(value: Value) -> str:
    """A value as people read it: seven digits of a number, which is what a float32 holds."""
    if value is None:
        return "nothing"
    return f"{value:.7g}" if isinstance(value, float) else repr(value)
