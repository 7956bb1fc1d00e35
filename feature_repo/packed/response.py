"""Answers from packed values: plain Python at once, Feast's protobuf only when somebody asks for it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from feast import utils
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.packed.codec import MISSING, Layout
from feature_repo.packed.kinds import Cell


class Found(NamedTuple):
    """What a store knows of one entity in one view."""

    cells: tuple[Cell, ...] | None
    """A cell per feature of the view's layout; None where there is nothing that may be shown."""

    event: int | None = None
    """Event time in microseconds since 1970, None for an unknown entity."""

    @property
    def status(self) -> Any:
        """Feast's status of all its features, save those which the value's schema lacks."""
        if self.cells is not None:
            return FieldStatus.PRESENT
        return FieldStatus.NOT_FOUND if self.event is None else FieldStatus.OUTSIDE_MAX_AGE


UNKNOWN = Found(None)


def moment(event: int | None) -> datetime | None:
    """An event time in UTC."""
    if event is None:
        return None
    return datetime.fromtimestamp(event // 1_000_000, tz=UTC).replace(microsecond=event % 1_000_000)


class Answer(NamedTuple):
    """The rows of one view in a response."""

    names: Sequence[str]
    """Names by which the features are asked for."""

    places: Sequence[int]
    """Where they are in the layout."""

    layout: Layout
    rows: Sequence[Found]
    """One per row of the response."""


def append(response: GetOnlineFeaturesResponse, answer: Answer) -> None:
    """Add a view's features to a protobuf as Feast does it."""
    response.metadata.feature_names.val.extend(answer.names)
    times = []
    for row in answer.rows:
        time = Timestamp()
        if row.event is not None:
            time.FromMicroseconds(row.event)
        times.append(time)
    statuses = [row.status for row in answer.rows]
    for place in answer.places:
        kind = answer.layout.kinds[place]
        cells = [None if row.cells is None else row.cells[place] for row in answer.rows]
        response.results.append(
            GetOnlineFeaturesResponse.FeatureVector(
                values=[Value() if cell is MISSING else kind.proto(cell) for cell in cells],
                statuses=[
                    FieldStatus.NOT_FOUND if cell is MISSING else status
                    for cell, status in zip(cells, statuses, strict=True)
                ],
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
        for answer in self._answers:
            if len(answer.rows) == 1:
                by_place: list[Any] = [
                    [cell] for cell in answer.rows[0].cells or [None] * len(answer.layout.names)
                ]
            else:
                nothing = (None,) * len(answer.layout.names)
                by_place = list(map(list, zip(*(row.cells or nothing for row in answer.rows), strict=True)))
            for place, to_python in answer.layout.shown:
                by_place[place] = [v if v is None or v is MISSING else to_python(v) for v in by_place[place]]
            for name, place in zip(answer.names, answer.places, strict=True):
                column = by_place[place]
                columns[name] = [None if v is MISSING else v for v in column] if MISSING in column else column
            if include_event_timestamps:
                seconds = [0 if row.event is None else row.event // 1_000_000 for row in answer.rows]
                columns |= {name + TIMESTAMP_POSTFIX: seconds for name in answer.names}
        return columns
