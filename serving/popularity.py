"""Popularity by purpose: what the API answers with where no predictor answers in time."""

import functools
import logging
from pathlib import Path

from pydantic import BaseModel

from serving.answers import Ranking
from serving.messages import Question

POPULARITY = "popularity"
"""Predictor and version of an answer that came from no model."""

_logger = logging.getLogger(__name__)


class PopularRental(BaseModel):
    """A rental and by what it may be chosen."""

    rental_id: str
    score: float
    predicted_rating: float
    category: str | None = None
    area: str | None = None
    price: float | None = None


class PopularityFile(BaseModel):
    """Rentals by purpose, best first; those of "" are for requests without one."""

    rankings: dict[str, list[PopularRental]]


class PopularRentals:
    """Rankings that a flow has written (see ``flows.popularity``); read anew when the file changes."""

    def __init__(self, path: Path) -> None:
        """Take the file; it may come, change and go."""
        self._path = path

    def best(self, question: Question) -> Ranking | None:
        """Return the most popular rentals for the purpose which the question allows.

        Filters choose among those that are listed: the first hundreds of each purpose. None where there is no
        file, or one that cannot be read.
        """
        try:
            rankings = _load_once(self._path, self._path.stat().st_mtime_ns)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _logger.error("%s cannot be read, run the features flow again: %s", self._path, error)
            return None
        listed = rankings.get(question.purpose or "", rankings.get("", []))
        left = [rental for rental in listed if _is_allowed(rental, question)][: question.k]
        return Ranking(
            [rental.rental_id for rental in left],
            [rental.score for rental in left],
            [rental.predicted_rating for rental in left],
            [[] for _ in left],
        )


def _is_allowed(rental: PopularRental, question: Question) -> bool:
    least, greatest, price = question.price_from, question.price_to, rental.price
    return (
        rental.rental_id not in question.exclude
        and (not question.only or rental.rental_id in question.only)
        and (not question.category or rental.category in question.category)
        and (not question.area or rental.area in question.area)
        and (least is None or (price is not None and price >= least))
        and (greatest is None or (price is not None and price <= greatest))
    )


@functools.lru_cache(maxsize=1)
def _load_once(path: Path, changed: int) -> dict[str, list[PopularRental]]:
    return PopularityFile.model_validate_json(path.read_text()).rankings
