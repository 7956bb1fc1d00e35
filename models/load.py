"""The embedded model: recommendations in a Python process, with numpy and ONNX Runtime alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.inference import COUNT, MODEL_FILE, PAIRS_FILE, inputs_of, open_session

if TYPE_CHECKING:
    import onnxruntime

REGISTRY_SCHEME = "models:/"

User = str | Mapping[str, Any]
"""A user's id alone, or values by input name: ``user_id``, ``purpose``, features; absent ones are missing."""


@dataclass(frozen=True)
class Reason:
    """What speaks for a rental."""

    subject: str
    """Such as ``purpose`` or ``rental's popularity``."""

    factor: float
    """How many times as often the rental is expected to be chosen because of it."""


@dataclass(frozen=True)
class Recommendation:
    """One rental of an answer."""

    rental_id: str
    score: float
    predicted_rating: float
    reasons: tuple[Reason, ...]
    """The strongest first; none where the model was exported without them."""


class EmbeddedModel:
    """An exported recommender, loaded into this process."""

    def __init__(self, path: Path) -> None:
        """Load the ONNX file at ``path``, or the one in the folder ``path``.

        Raises:
            ModelFileError: the file is missing or is not a readable ONNX model.
        """
        self.path = path / MODEL_FILE if path.is_dir() else path
        self.session = open_session(self.path)

    @cached_property
    def pairs(self) -> "onnxruntime.InferenceSession":
        """The graph of pairs, which lies beside the model; opened when it is first asked for."""
        return open_session(self.path.with_name(PAIRS_FILE))

    def recommend(
        self,
        user: User,
        k: int = 10,
        exclude: str | Iterable[str] = (),
        only: str | Iterable[str] = (),
        price_from: float | None = None,
        price_to: float | None = None,
        **attributes: str | Iterable[str] | None,
    ) -> list[Recommendation]:
        """Return the best ``k`` rentals, best first; fewer where the filters or the catalogue leave fewer.

        Args:
            user: who asks.
            k: number of rentals, at least 1.
            exclude: rentals that must not come back, such as those already rented; unknown ones do no harm.
            only: the rentals that may come back; all of them where it is empty.
            price_from: least price; a rental without a known price has none that is allowed.
            price_to: greatest price.
            attributes: allowed values of a rental's attributes by name, such as ``category="gown"`` or
                ``category=["gown", "suit"]``; None allows all. A rental of which the attribute is not known
                has no allowed value.

        Raises:
            ValueError: ``k`` is below 1, a name is not an input, or a numeric feature is not a number.
        """
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least one rental")
        filters = {"exclude": exclude, "only": only, **attributes}
        given: dict[str, Any] = {
            name: listed for name, values in filters.items() if (listed := _listed(values))
        }
        limits = {"price_from": price_from, "price_to": price_to}
        given |= {name: limit for name, limit in limits.items() if limit is not None}
        inputs = inputs_of(self.session, [{**_features(user), **given}], strict=True)
        if COUNT in {value.name for value in self.session.get_overridable_initializers()}:
            inputs[COUNT] = np.array([k], np.int64)
        names = [output.name for output in self.session.get_outputs()]
        outputs = dict(zip(names, self.session.run(names, inputs), strict=True))
        return [
            Recommendation(str(rental_id), float(score), float(rating), _reasons(outputs, place))
            for place, (rental_id, score, rating) in enumerate(
                zip(
                    *(outputs[name][0, :k] for name in ("rental_id", "score", "predicted_rating")),
                    strict=True,
                )
            )
            if rental_id
        ]

    def predict(self, user: User, rental_ids: str | Iterable[str]) -> list[float]:
        """Return the predicted rating (1..5) of each rental, in order.

        A rental that is not in the catalogue is predicted as one of which nothing is known.

        Args:
            user: who would rent.
            rental_ids: which rentals.

        Raises:
            ValueError: a name is not an input, or a numeric feature is not a number.
            ModelFileError: no graph of pairs lies beside the model.
        """
        if not (listed := _listed(rental_ids)):
            return []
        inputs = inputs_of(self.pairs, [{**_features(user), "rental_id": listed}], strict=True)
        (ratings,) = self.pairs.run(["predicted_rating"], inputs)
        return [float(rating) for rating in ratings[0]]


def load(path_or_uri: str | Path) -> EmbeddedModel:
    """Load a model from an ONNX file, its folder, or the registry: ``models:/NAME@ALIAS`` or ``…/VERSION``.

    Only the registry needs MLflow; a folder that was fetched once needs numpy and ONNX Runtime.
    """
    if str(path_or_uri).startswith(REGISTRY_SCHEME):
        from models.registry import download

        return EmbeddedModel(download(str(path_or_uri)))
    return EmbeddedModel(Path(path_or_uri))


def _reasons(outputs: Mapping[str, np.ndarray], place: int) -> tuple[Reason, ...]:
    if "reason" not in outputs:
        return ()
    subjects = outputs["reason_subject"][0, outputs["reason"][0, place]]
    found = zip(subjects, outputs["reason_factor"][0, place], strict=True)
    return tuple(Reason(str(subject), float(factor)) for subject, factor in found if subject)


def _features(user: User) -> Mapping[str, Any]:
    return {"user_id": user} if isinstance(user, str) else user


def _listed(values: str | Iterable[str] | None) -> list[str]:
    return [values] if isinstance(values, str) else [str(value) for value in values or ()]
