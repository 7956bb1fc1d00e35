"""Export to self-contained ONNX graphs: raw strings and numbers in, rentals, scores and ratings out."""

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import torch
from onnx import TensorProto

from models.columns import ColumnError
from models.data import tensors
from models.files import replacing
from models.filters import add_filters, attribute_filters
from models.graph import USER, Graph, add_ratings, user_graph
from models.inference import COUNT, MODEL_FILE, PAIRS_FILE
from models.reasons import add_reasons
from models.recommender import Recommender
from models.towers import RentalVectors

HALF_FILE = "model.fp16.onnx"
"""The graph of the best rentals for a GPU, beside the others in a model's folder."""


def export_all(
    model: Recommender,
    catalogue: pd.DataFrame,
    folder: Path,
    k: int = 100,
    others: pd.DataFrame | None = None,
) -> Path:
    """Write ``model.onnx``, ``pairs.onnx`` and ``model.fp16.onnx`` into ``folder``; return the first one.

    Args and errors are those of ``export``.
    """
    export_pairs(model, catalogue, folder / PAIRS_FILE)
    export(model, catalogue, folder / HALF_FILE, k, others, half=True)
    return export(model, catalogue, folder / MODEL_FILE, k, others)


def export(
    model: Recommender,
    catalogue: pd.DataFrame,
    path: Path,
    k: int = 100,
    others: pd.DataFrame | None = None,
    half: bool = False,
) -> Path:
    """Write the graph of the best rentals of one catalogue as an ONNX file.

    Inputs, each [batch, 1]: ``user_id``, ``purpose`` and categorical user features as STRING ("" = missing),
    numeric user features as FLOAT (NaN = missing). Inputs that may be left out, each STRING
    [batch, any number], "" saying nothing: ``exclude`` (rentals which must not come back), ``only`` (rentals
    which may) and one per categorical rental feature (allowed values), such as ``category``; ``price_from``
    and ``price_to`` FLOAT [batch, 1], NaN saying nothing; and ``k`` INT64 [1], the number of rentals of an
    answer.

    Outputs, best first, each [batch, number]: ``rental_id`` STRING, ``score`` FLOAT, ``predicted_rating``
    FLOAT in 1..5. Where the filters leave fewer rentals, the rest of a row is "", -inf and NaN. Beside
    ``others`` also those of ``models.reasons.add_reasons``.

    Args:
        model: a fitted recommender.
        catalogue: one snapshot, a row per rental.
        path: the file to write; it appears whole or not at all.
        k: the rentals of an answer, at most all, where the caller gives no ``k``.
        others: rows of other requests, such as the latest events, beside which a user's reasons are seen.
        half: keep the catalogue's vectors and take the scores' product in half precision, for a GPU. What it
            loses is measured by ``models.parity.agreement``.

    Raises:
        ValueError: ``k`` is below 1.
        ColumnError: the catalogue lacks columns, or holds more than one snapshot or a rental twice.
    """
    if k < 1:
        raise ValueError(f"k is {k}; an answer needs at least one rental")
    rental_ids, filters = checked_ids(model, catalogue), attribute_filters(model.encoding.columns)
    vectors, precision = rental_vectors(model, catalogue), torch.float16 if half else torch.float32
    count = len(rental_ids)
    graph = user_graph(model, with_terms=others is not None)
    graph.constant("ranking", vectors.ranking.T.to(precision))
    graph.constant("ranking_bias", vectors.ranking_bias)
    add_filters(graph, catalogue, filters)
    graph.input(COUNT, TensorProto.INT64, [1], np.array([min(k, count)], np.int64))
    graph.constant("_count", np.array([count], np.int64))
    # The place behind the last rental is no rental: a masked one is not told.
    graph.constant("_nowhere", np.array(count, np.int64))
    graph.constant("rental_ids", np.array([*rental_ids, ""], dtype=object))
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    graph.add(
        f"""
        _user = Cast <to = {kind}> ({USER[0]})
        _narrow_product = MatMul (_user, ranking)
        _product = Cast <to = {TensorProto.FLOAT}> (_narrow_product)
        _scores = Add (_product, _bias)
        _number = Min ({COUNT}, _count)
        score, _position = TopK <axis = 1> (_scores, _number)
        _is_masked = IsInf <detect_positive = 0> (score)
        _place = Where (_is_masked, _nowhere, _position)
        rental_id = Gather <axis = 0> (rental_ids, _place)
        """
    )
    rating = torch.cat([vectors.rating, torch.zeros_like(vectors.rating[:1])]).to(precision)
    add_ratings(graph, model, rating, torch.cat([vectors.rating_bias, torch.tensor([torch.nan])]))
    graph.output("rental_id", TensorProto.STRING, ["batch", COUNT])
    graph.output("score", TensorProto.FLOAT, ["batch", COUNT])
    graph.output("predicted_rating", TensorProto.FLOAT, ["batch", COUNT])
    if others is not None:
        add_reasons(graph, model, catalogue, others)
    return _write(graph, path)


def export_pairs(model: Recommender, catalogue: pd.DataFrame, path: Path) -> Path:
    """Write the graph of pairs of a user and rentals as an ONNX file.

    Inputs: the user's as for ``export``, and ``rental_id`` STRING [batch, rentals]: one rental a row for
    pairs, several for one user's. Outputs, both FLOAT [batch, rentals]: ``predicted_rating`` in 1..5, and
    ``score``, which is that of ``export``.

    A rental that the catalogue does not hold is taken as one of which nothing is known: the id is an unseen
    one and every feature is missing. That is the model's own answer for it, the same for all such rentals.

    Args:
        model: a fitted recommender.
        catalogue: one snapshot, a row per rental.
        path: the file to write; it appears whole or not at all.

    Raises:
        ColumnError: the catalogue lacks columns, or holds more than one snapshot or a rental twice.
    """
    rental_ids = checked_ids(model, catalogue)
    vectors = rental_vectors(model, catalogue, unknown=True)
    graph = user_graph(model)
    graph.input("rental_id", TensorProto.STRING, ["batch", "rentals"])
    places = {rental_id: place for place, rental_id in enumerate(rental_ids)}
    graph.encode("rental_id", "_place", places, default=len(places))
    graph.constant("ranking", vectors.ranking)
    graph.constant("ranking_bias", vectors.ranking_bias)
    graph.add(
        f"""
        _ranking_vectors = Gather <axis = 0> (ranking, _place)
        _ranking_user = Unsqueeze ({USER[0]}, _one)
        _ranking_products = Mul (_ranking_vectors, _ranking_user)
        _ranking_product = ReduceSum <keepdims = 0> (_ranking_products, _last)
        _ranking_term = Gather <axis = 0> (ranking_bias, _place)
        score = Add (_ranking_product, _ranking_term)
        """
    )
    add_ratings(graph, model, vectors.rating, vectors.rating_bias)
    graph.output("predicted_rating", TensorProto.FLOAT, ["batch", "rentals"])
    graph.output("score", TensorProto.FLOAT, ["batch", "rentals"])
    return _write(graph, path)


@torch.no_grad()
def rental_vectors(model: Recommender, catalogue: pd.DataFrame, unknown: bool = False) -> RentalVectors:
    """Return the vectors of every rental of ``catalogue``, in its order, for serving.

    The ranking half is shifted so that every user's scores have a mean of zero over the catalogue: only
    differences mean something, and small numbers keep float32 exact.

    Args:
        model: a fitted recommender.
        catalogue: one snapshot, a row per rental.
        unknown: put a rental of which nothing is known behind the last one.
    """
    vectors: RentalVectors = model.rental_side(*tensors(model.encoding.rental.encode(catalogue)))
    ranking, bias = vectors.ranking.mean(dim=0), vectors.ranking_bias.mean()
    if unknown:
        nothing = pd.DataFrame(index=[0], columns=catalogue.columns, dtype=object)
        row: RentalVectors = model.rental_side(*tensors(model.encoding.rental.encode(nothing)))
        vectors = RentalVectors(*map(torch.cat, zip(vectors, row, strict=True)))
    return vectors._replace(ranking=vectors.ranking - ranking, ranking_bias=vectors.ranking_bias - bias)


def checked_ids(model: Recommender, catalogue: pd.DataFrame) -> list[str]:
    """Return the ids of a catalogue that can be served.

    Raises:
        ColumnError: it lacks columns, holds more than one snapshot, or a rental twice or without an id.
    """
    model.encoding.columns.check_catalogue(catalogue)
    ids = catalogue["rental_id"].astype(str)
    if catalogue["snapshot_at"].nunique() > 1 or ids.duplicated().any() or (ids == "").any():
        raise ColumnError(
            "the catalogue to serve must be one snapshot with one row per rental, each with an id; "
            "take the latest"
        )
    return list(ids)


def _write(graph: Graph, path: Path) -> Path:
    model = graph.model()
    with replacing(path) as temporary:
        onnx.save(model, temporary)
    return path
