"""Answers from packed values: plain Python at once, Feast's protobuf only when somebody asks for it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from feast import FeatureView, utils
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.packed.codec import Layout
from feature_repo.packed.kinds import Cell


class Found(NamedTuple):
    """What a store knows of one entity in one view."""

    cells: Sequence[Cell] | None
    """A cell per feature of the view's layout; None where there is nothing that may be shown."""

    event: int | None = None
    """Event time in microseconds since 1970, None for an unknown entity."""

    lacks: Collection[int] = ()
    """Places of the features that the value's own schema does not have; their cells are None."""

    def status(self, place: int) -> Any:
        """Feast's status of a feature."""
        if self.event is None or place in self.lacks:
            return FieldStatus.NOT_FOUND
        return FieldStatus.OUTSIDE_MAX_AGE if self.cells is None else FieldStatus.PRESENT


UNKNOWN = Found(None)


def moment(event: int | None) -> datetime | None:
    """An event time in UTC."""
    if event is None:
        return None
    return datetime.fromtimestamp(event // 1_000_000, tz=UTC).replace(microsecond=event % 1_000_000)


class Asked:
    """The features of one view that a request asks for."""

    def __init__(
        self, view: FeatureView, layout: Layout, features: Sequence[str], full_feature_names: bool
    ) -> None:
        shown = view.projection.name_to_use()
        self.names = [f"{shown}__{name}" if full_feature_names else name for name in features]
        self.places = [layout.names.index(name) for name in features]
        self.kinds = [layout.kinds[place] for place in self.places]
        self.nothing = [None] * len(layout.names)
        self.shown = [
            (name, kind.to_python)
            for name, kind in zip(self.names, self.kinds, strict=True)
            if kind.to_python
        ]


class Answer(NamedTuple):
    """The rows of one view in a response."""

    asked: Asked
    rows: Sequence[Found]
    """One per row of the response."""


def append(response: GetOnlineFeaturesResponse, answer: Answer) -> None:
    """Add a view's features to a protobuf as Feast does it."""
    asked, rows = answer
    response.metadata.feature_names.val.extend(asked.names)
    times = []
    for row in rows:
        time = Timestamp()
        if row.event is not None:
            time.FromMicroseconds(row.event)
        times.append(time)
    for place, kind in zip(asked.places, asked.kinds, strict=True):
        response.results.append(
            GetOnlineFeaturesResponse.FeatureVector(
                values=[kind.proto(row.cells and row.cells[place]) for row in rows],
                statuses=[row.status(place) for row in rows],
                event_timestamps=times,
            )
        )


class PackedResponse(OnlineResponse):
    """Feast's response over packed values."""

    def __init__(
        self, entities: Mapping[str, Sequence[Any]], types: Mapping[str, ValueType], answers: list[Answer]
    ) -> None:
        """Take the values of the join keys, the Feast types of join keys, and an answer per view."""
        self._entities = entities
        self._types = types
        self._answers = answers
        self._feature_types = {}

    @cached_property
    def proto(self) -> GetOnlineFeaturesResponse:  # type: ignore[override]
        """The protobuf, which ``feast serve`` sends."""
        response = GetOnlineFeaturesResponse(results=[])
        utils._populate_result_rows_from_columnar(
            response,
            {
                name: utils.python_values_to_proto_values(list(values), self._types[name])
                for name, values in self._entities.items()
            },
        )
        for answer in self._answers:
            append(response, answer)
        return response

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """Values by name of the join key or feature, a list item per row."""
        columns: dict[str, Any] = {name: list(values) for name, values in self._entities.items()}
        if include_event_timestamps:
            columns |= {
                name + TIMESTAMP_POSTFIX: [0] * len(values) for name, values in self._entities.items()
            }
        for asked, rows in self._answers:
            cells = [row.cells or asked.nothing for row in rows]
            if len(cells) == 1:
                # Not transposed, because most requests are of this kind.
                for name, place in zip(asked.names, asked.places, strict=True):
                    columns[name] = [cells[0][place]]
            else:
                by_place = list(map(list, zip(*cells, strict=True)))
                columns.update(zip(asked.names, [by_place[place] for place in asked.places], strict=True))
            for name, to_python in asked.shown:
                columns[name] = [cell if cell is None else to_python(cell) for cell in columns[name]]
            if include_event_timestamps:
                seconds = [0 if row.event is None else row.event // 1_000_000 for row in rows]
                columns |= {name + TIMESTAMP_POSTFIX: seconds for name in asked.names}
        return columns
