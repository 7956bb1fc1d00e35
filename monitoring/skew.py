"""Training-serving skew: were requests served the features that training would see for the same moment."""

import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from monitoring.log_entries import as_stored
from monitoring.skew_report import Example, FeatureSkew, SkewReport, Value

FLOAT32_TOLERANCE = 2.0**-22
"""Relative difference of two numbers that still counts as none: two units in the last place of a float32.

Both sides round to float32, so a value which was only carried is equal bit for bit. One which two engines
computed, each summing in its own order, can fall on neighbouring float32 numbers, 2**-23 apart, once when it
is stored and once more when a request-time feature is made of it. There is no absolute tolerance: next to
zero, something is not nothing.
"""

SAMPLE_SEED = 0
"""The same log gives the same sample, so that a finding can be looked at again."""


class SkewError(ValueError):
    """There is nothing to compare; the message names the remedy."""


@dataclass(frozen=True)
class Sample:
    """Requests drawn from the prediction log.

    Attributes:
        requests: a row of the log per request, each request once, index 0..n-1.
        logged: requests the sample was drawn from, those without features included.
        without_features: requests for which the feature store did not answer. What they were served says
            nothing about features, so they are counted and not drawn.
    """

    requests: pd.DataFrame
    logged: int
    without_features: int


def sample(predictions: pd.DataFrame, size: int, seed: int = SAMPLE_SEED) -> Sample:
    """Draw at most ``size`` requests from the whole log, evenly among users.

    Each user has one request drawn, at random from all of theirs, before any user has a second one: who asks
    ten thousand times is one user still. Of the attempts of one request the first counts, because all of them
    were served the same features.

    Args:
        predictions: as `read_predictions` returns them.
        size: how many to draw.
        seed: of the draw.

    Raises:
        SkewError: no request with features is in the log.
    """
    ordered = predictions.sort_values(["timestamp", "request_id"], kind="stable")
    requests = ordered.drop_duplicates("request_id", ignore_index=True)
    if requests.empty:
        raise SkewError(
            "no predictions are logged: serve a model (`make up`) and ask it for recommendations first"
        )
    answered = requests[requests["features_failure"].isna()]
    if answered.empty:
        raise SkewError(
            f"none of {len(requests):,} logged requests was served features, the last because "
            f"{requests['features_failure'].iloc[-1]}: bring features online (`make features`), then ask"
        )
    shuffled = answered.sample(frac=1, random_state=seed)
    turns = shuffled.groupby("user_id", dropna=False).cumcount().sort_values(kind="stable")
    drawn = shuffled.loc[turns.index[:size]].reset_index(drop=True)
    return Sample(drawn, len(requests), len(requests) - len(answered))


def compare(served: "pd.Series[Any]", recomputed: pd.DataFrame) -> SkewReport:
    """Compare the features of each request with the recomputed ones.

    Missing on one side only is a difference, on both it is none; the empty text is a missing one, as the
    model takes it. Values of different types differ: the text "3" is not the number 3. A feature which a
    request's entry does not name was not served to it, and is not compared there.

    Args:
        served: by request_id, what was served: a mapping from feature to value.
        recomputed: by request_id, in any order, a column per feature.

    Raises:
        SkewError: there are no requests, or no feature is on both sides.
        ValueError: the two are not about the same requests, or a request_id stands twice.
    """
    if served.empty:
        raise SkewError("no requests to compare: serve a model (`make up`) and ask it first")
    if not (served.index.is_unique and recomputed.index.is_unique):
        raise ValueError("a request_id stands twice; compare each request once")
    if len(served) != len(recomputed) or not served.index.isin(recomputed.index).all():
        raise ValueError("served and recomputed are not of the same requests; recompute those served")
    named: dict[str, None] = dict.fromkeys(name for entry in served for name in entry)
    features = [str(name) for name in recomputed.columns if name in named]
    if not features:
        raise SkewError(
            f"none of the served features ({', '.join(named) or 'there are none'}) exists any more: "
            "train and serve a model on the present ones (`make train`, `make up`)"
        )
    recomputed = recomputed.loc[served.index]
    differing: set[Hashable] = set()
    verdicts = []
    for name in features:
        verdict, requests = _feature(name, served, recomputed[name])
        verdicts.append(verdict)
        differing |= requests
    return SkewReport(
        features=tuple(verdicts),
        requests=len(served),
        differing_requests=len(differing),
        not_recomputed=tuple(name for name in named if name not in recomputed),
        not_served=tuple(str(name) for name in recomputed.columns if name not in named),
    )


def same(served: Mapping[Any, Any], recomputed: Mapping[Any, Any]) -> bool:
    """Whether one request was served exactly ``recomputed``, as far as both name a feature."""
    return not any(
        name in served and _differ(_value(served[name]), _value(value)) for name, value in recomputed.items()
    )


def _feature(
    name: str, served: "pd.Series[Any]", recomputed: "pd.Series[Any]"
) -> tuple[FeatureSkew, set[Hashable]]:
    """Compare one feature; return the verdict and the requests which differ."""
    pairs = {
        request_id: (_value(entry[name]), _value(other))
        for request_id, entry, other in zip(served.index, served, recomputed, strict=True)
        if name in entry
    }
    differing = {request_id: pair for request_id, pair in pairs.items() if _differ(*pair)}
    distances = {
        request_id: _distance(one, other)
        for request_id, (one, other) in differing.items()
        if _is_number(one) and _is_number(other)
    }
    worst = max(distances, key=lambda key: distances[key][0]) if distances else next(iter(differing), None)
    verdict = FeatureSkew(
        name=name,
        compared=len(pairs),
        differing=len(differing),
        served_missing=sum(one is None for one, _ in differing.values()),
        recomputed_missing=sum(other is None for _, other in differing.values()),
        largest_difference=max((absolute for absolute, _ in distances.values()), default=None),
        largest_relative_difference=max((relative for _, relative in distances.values()), default=None),
        example=Example(str(worst), *differing[worst]) if differing else None,
    )
    return verdict, set(differing)


def _value(value: Any) -> Value:
    """The value as the log would hold it, None where it is missing."""
    if value is pd.NA or value is pd.NaT:
        return None
    stored = as_stored(value)
    return None if stored == "" else stored


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _differ(one: Any, other: Any) -> bool:
    if _is_number(one) and _is_number(other):
        return one != other and _distance(one, other)[1] > FLOAT32_TOLERANCE
    return type(one) is not type(other) or one != other


def _distance(one: Any, other: Any) -> tuple[float, float]:
    """The absolute and the relative difference of two numbers that are not both zero, always finite."""
    largest = max(abs(one), abs(other))
    return min(abs(one - other), sys.float_info.max), abs(one / largest - other / largest)
