"""What the Run page shows, as a frozen value, and its JSON form within a view. No Qt."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from viewer.errors import UserError
from viewer.model.view_state import MAX_JSON
from viewer.runs.query import RunQuery, read_query

KEY: Final = "run"
"""The key of a view's JSON that holds it; the views of episodes ignore it."""
MOST: Final = 100_000


@dataclass(frozen=True)
class RunView:
    """A view of a run: the query, and the chosen head."""

    query: RunQuery = field(default_factory=RunQuery)
    is_contrast: bool = False
    """Whether success is compared with failure."""
    layer: int | None = None
    """Number of the layer of the chosen head, from 0; None for none."""
    head: int | None = None

    @property
    def cell(self) -> tuple[int, int] | None:
        """Number of the chosen layer and head; None for none."""
        return None if self.layer is None or self.head is None else (self.layer, self.head)

    @property
    def resolved_query(self) -> RunQuery:
        """The query that answers the view: grouped by outcome where success is compared with failure."""
        if not self.is_contrast:
            return replace(self.query, group="none")
        return replace(self.query, group="outcome", outcomes=("success", "failure"))

    def to_json(self) -> str:
        """Return one line of JSON: a view with what is shown of the run."""
        value = {"query": asdict(self.query), "contrast": self.is_contrast, "layer": self.layer, "head": self.head}
        return json.dumps({KEY: value}, separators=(",", ":"), ensure_ascii=False)


def parse_run_view(text: str) -> RunView | None:
    """Return the view of a run that the JSON of a view holds; None where it holds none.

    What cannot be is left at its default.

    Raises:
        UserError: The text is no JSON object.
    """
    try:
        value = json.loads(text) if len(text) <= MAX_JSON else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UserError("The view cannot be read; copy it again with “Copy view as command”.")
    entry = value.get(KEY)
    return _read_view(entry) if isinstance(entry, dict) else None


def _read_view(value: dict[str, Any]) -> RunView:
    query = value.get("query")
    layer, head = (_parse_number(value.get(name)) for name in ("layer", "head"))
    run_query = read_query(query) if isinstance(query, dict) else RunQuery()
    return RunView(run_query, value.get("contrast") is True, layer, head)


def _parse_number(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < MOST else None
