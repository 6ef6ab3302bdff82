"""Which fields of a view have changed, and changes that take others with them."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from viewer.analysis.comparison import has_other_unit
from viewer.analysis.effects.measured import find_dims
from viewer.model.view_state import FROM_EFFECTS, ViewState

if TYPE_CHECKING:
    from viewer.io.results import Results
    from viewer.model.view_state import Measure

_FIELDS: Final = tuple(field.name for field in fields(ViewState))
_read_fields: Final = attrgetter(*_FIELDS)
_compared: list[tuple[ViewState, ViewState, frozenset[str]]] = []


def differing(before: ViewState, after: ViewState) -> frozenset[str]:
    """Return the names of the fields in which two views differ."""
    # Every panel compares the same two objects, so the last result is cached by identity, without hashing the views.
    if _compared and _compared[0][0] is before and _compared[0][1] is after:
        return _compared[0][2]
    values = zip(_FIELDS, _read_fields(before), _read_fields(after), strict=True)
    names = frozenset([name for name, one, two in values if one != two])
    _compared[:] = [(before, after, names)]
    return names


def to_measure(view: ViewState, measure: Measure, results: Results | None) -> dict[str, Any]:
    """Return the changes of fields that show a view in a measure; a locked range is in the unit of one measure.

    A dimension without values of that measure in the frame is replaced by all dimensions together.
    """
    changes: dict[str, Any] = {"measure": measure}
    if view.dim is not None and measure in FROM_EFFECTS and results is not None:
        changes["dim"] = view.dim if view.dim in find_dims(results, view.frame, measure) else None
    if view.range == "locked" and has_other_unit(view.measure, measure):
        changes["range"] = "uniform"
    return changes
