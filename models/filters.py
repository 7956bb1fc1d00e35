"""Which rentals may come back, decided inside the graph: lists of texts become masks over the catalogue."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from onnx import TensorProto

from models.columns import ColumnError, Columns
from models.graph import Graph

EXCLUDE = "exclude"
"""Input of the rentals which must not come back."""

ONLY = "only"
"""Input of the rentals which may come back."""

PRICE = "rental_price"
"""Numeric feature whose range may be given."""

LIMITS = ("price_from", "price_to")
"""Inputs of the least and the greatest price; both belong to the range."""

PREFIX = "rental_"
"""Columns of a rental's attributes begin so; the filter of ``rental_category`` is the input ``category``."""


def attribute_filters(columns: Columns) -> dict[str, str]:
    """Return the column of each filter by attribute.

    Raises:
        ColumnError: a filter has the name of a user's input.
    """
    filters = {name.removeprefix(PREFIX): name for name in columns.rental_categorical}
    taken = {*columns.user_strings, *columns.user_numeric, EXCLUDE, ONLY, *LIMITS, "k"}
    if double := sorted(taken & set(filters)):
        raise ColumnError(f"{double} are inputs of the model already; name these rental features otherwise")
    return filters


def add_filters(graph: Graph, catalogue: pd.DataFrame, filters: dict[str, str]) -> None:
    """Add the inputs and ``_bias`` [batch or 1, rentals]: ``ranking_bias``, -inf where a rental is masked.

    Each input is STRING [batch, any number], or left out; the empty text says nothing. Where the catalogue
    has prices, ``LIMITS`` are inputs too.

    Args:
        graph: with the constant ``ranking_bias`` [rentals].
        catalogue: the rentals, in the order of the scores.
        filters: column of each filter by attribute.
    """
    ids = catalogue["rental_id"].astype(str)
    graph.constant("_zero", np.float32(0))
    graph.constant("_masked_score", np.float32(-np.inf))
    _add_hits(graph, EXCLUDE, ids)
    graph.add(f"_forbidden_{EXCLUDE} = Greater (_hit_{EXCLUDE}, _zero)")
    forbidden = f"_forbidden_{EXCLUDE}"
    for name, values in ((ONLY, ids), *((name, catalogue[column]) for name, column in filters.items())):
        _add_hits(graph, name, values)
        graph.add(
            f"""
            _forbidden_by_{name} = Less (_hit_{name}, _given_{name})
            _forbidden_{name} = Or ({forbidden}, _forbidden_by_{name})
            """
        )
        forbidden = f"_forbidden_{name}"
    if PRICE in catalogue:
        graph.constant("_price", catalogue[PRICE].to_numpy(np.float32))
        for name, inside in zip(LIMITS, ("GreaterOrEqual", "LessOrEqual"), strict=True):
            graph.input(name, TensorProto.FLOAT, [f"{name}_rows", 1], np.array([[np.nan]], np.float32))
            # A price that is not known is in no range.
            graph.add(
                f"""
                _blank_{name} = IsNaN ({name})
                _inside_{name} = {inside} (_price, {name})
                _allowed_{name} = Or (_blank_{name}, _inside_{name})
                _outside_{name} = Not (_allowed_{name})
                _forbidden_{name} = Or ({forbidden}, _outside_{name})
                """
            )
            forbidden = f"_forbidden_{name}"
    graph.add(f"_bias = Where ({forbidden}, _masked_score, ranking_bias)")


def _add_hits(graph: Graph, name: str, values: Iterable[object]) -> None:
    """Add an input, ``_hit_…`` [batch or 1, rentals], 1 where it names a rental's value, and ``_given_…``
    [batch or 1, 1], 1 where it names anything.

    What is named is marked in a table of a column per value, so that work and memory grow with the catalogue
    and the list, not with their product. Three more columns are for unknown texts, for the empty text, and
    for rentals without a value, which nobody can name.
    """
    texts = pd.Series(list(values), dtype=object)
    known = texts.notna() & (texts != "")
    codes = {value: code for code, value in enumerate(sorted(set(texts[known].astype(str))))}
    unknown, empty, width = len(codes), len(codes) + 1, len(codes) + 3
    of_rentals = [codes[str(text)] if there else width - 1 for text, there in zip(texts, known, strict=True)]
    graph.input(name, TensorProto.STRING, [f"{name}_rows", f"{name}_values"], np.array([[""]], dtype=object))
    graph.encode(name, f"_code_{name}", codes | {"": empty}, unknown)
    graph.constant(f"_width_{name}", np.array([width], np.int64))
    graph.constant(f"_of_rentals_{name}", np.array(of_rentals, np.int64))
    graph.constant(f"_from_{name}", np.array([0], np.int64))
    graph.constant(f"_to_{name}", np.array([empty], np.int64))
    graph.constant(f"_axis_{name}", np.array([1], np.int64))
    graph.add(
        f"""
        _rows_{name} = Shape <start = 0, end = 1> (_code_{name})
        _size_{name} = Concat <axis = 0> (_rows_{name}, _width_{name})
        _blank_{name} = ConstantOfShape <value = float[1] {{0}}> (_size_{name})
        _shape_{name} = Shape (_code_{name})
        _marks_{name} = ConstantOfShape <value = float[1] {{1}}> (_shape_{name})
        _table_{name} = ScatterElements <axis = 1> (_blank_{name}, _code_{name}, _marks_{name})
        _hit_{name} = Gather <axis = 1> (_table_{name}, _of_rentals_{name})
        _values_{name} = Slice (_table_{name}, _from_{name}, _to_{name}, _axis_{name})
        _given_{name} = ReduceMax <keepdims = 1> (_values_{name}, _axis_{name})
        """
    )
