"""The state of a view as a frozen value, the lengths of a file's axes, and the JSON form of a view. No Qt."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, NamedTuple, get_args

from viewer.errors import UserError

Kind = Literal["text", "action"]
Reduction = Literal["mean", "max"]
Measure = Literal["weight", "contribution", "effect", "gradient"]
Scale = Literal["linear", "log", "rank"]
Unit = Literal["weight", "uniform"]
Range = Literal["uniform", "shared", "map", "locked"]
ColorMap = Literal["inferno", "viridis", "magma", "turbo", "jet"]
Picture = Literal["source", "model"]
Film = Literal["layers", "steps", "frames", "layers-frames"]
Curve = Literal["steps", "layers", "frames"]
Compare = Literal["off", "side", "difference"]
Wall = Literal["off", "layer", "best"]
Cell = tuple[int, int, int]
"""One image patch: camera, row, col."""

FROM_EFFECTS: Final = ("effect", "gradient")
"""Measures that come from effects files: one map for an action, of no layer, step or head."""
MAX_JSON: Final = 100_000
MAX_PINS: Final = 8
"""Views that can be kept."""
MAX_NAME: Final = 80
"""Characters of a kept view's name."""
SHARED_RANGES: Final = ("uniform", "shared")
"""Colour ranges that follow the weights of all cameras together."""


class Query(NamedTuple):
    """The query whose attention is shown: words of the prefix, or action tokens of the suffix."""

    kind: Kind = "text"
    items: tuple[int, ...] = (0,)
    """Chips in reading order (text) or action tokens (action), ascending, never empty."""

    @property
    def first(self) -> int:
        """The first item."""
        return self.items[0]


FIRST_WORD: Final = Query()


class Word(NamedTuple):
    """A word, mark or state value of a prompt by its text, so that it can be found in another prompt."""

    role: str
    text: str
    ordinal: int = 0
    """Its number among the chips of its role, from 0, which distinguishes equal words."""
    state_index: int = -1
    """Which value of the state it is, from 0; -1 for none."""


class Dims(NamedTuple):
    """Lengths of the axes that a view moves along."""

    frames: int
    layers: int
    heads: int
    steps: int
    actions: int
    chips: int
    cameras: int
    rows: int
    """Rows of patches of a camera."""
    cols: int

    def has_patch(self, cell: Cell) -> bool:
        """Return whether there is a patch at this camera, row and col."""
        camera, row, col = cell
        return 0 <= camera < self.cameras and 0 <= row < self.rows and 0 <= col < self.cols

    def find_steps(self, kind: Kind) -> int:
        """Return how many passes a query of this kind has: one for words, one for each denoise step for actions."""
        return self.steps if kind == "action" else 1


class Pin(NamedTuple):
    """A view that is kept, to be compared with."""

    name: str
    """The name that the user gave; empty for none."""
    view: ViewState


@dataclass(frozen=True, slots=True)
class ViewState:
    """One view of a results file: small values only, no array, no file, no widget."""

    frame: int = 0
    query: Query = FIRST_WORD
    sought: tuple[Word, ...] = ()
    """Chosen words of which the frame's prompt lacks some; the query then holds what is shown instead. Else empty."""
    step: int = 0
    layer: int = 0
    heads: tuple[int, ...] = ()
    """Heads that are reduced to one map; empty stands for all."""
    reduce: Reduction = "mean"
    measure: Measure = "weight"
    dim: int | None = None
    """Action dimension of which effects or gradients are shown; None for all together. No other measure has one."""
    scale: Scale = "linear"
    unit: Unit = "weight"
    range: Range = "uniform"
    """Colour range, see `viewer.model.attention.color_range`."""
    low: float = 0.0
    high: float = 0.0
    """Ends of the locked colour range, in the shown unit."""
    colours: ColorMap = "inferno"
    opacity: float = 0.7
    picture: Picture = "source"
    smooth: bool = False
    grid: bool = True
    left_out: tuple[str, ...] = ()
    """Key groups that are taken out of the row before it is normalised again."""
    region: tuple[Cell, ...] = ()
    region_name: str = ""
    """The named region that `region` is in the frame, which may be in no patch of it; empty for patches that were
    marked in the picture."""
    film: Film = "layers"
    thumbnails: bool = False
    """Whether the atlas shows a thumbnail a cell instead of a number."""
    score: str = "picture"
    """Name of a score of `viewer.analysis.scores`."""
    curve: Curve = "steps"
    wall: Wall = "off"
    """Whether all heads of the layer, or the best of all by the score, are shown instead of one view."""
    compare: Compare = "off"
    pinned: ViewState | None = None
    """The view that is compared with."""
    pins: tuple[Pin, ...] = ()
    """Views that are kept, the oldest first; one of them may be `pinned`."""

    def bare(self) -> ViewState:
        """Return the view without the views that are kept with it or compared with it."""
        return replace(self, pinned=None, pins=(), compare="off", wall="off")

    def clamped(self, dims: Dims) -> ViewState:
        """Return the nearest view that fits a file of these sizes."""
        query = self.query
        count = dims.actions if query.kind == "action" else dims.chips
        if count == 0:
            query, count = (Query("text"), dims.chips) if query.kind == "action" else (Query("action"), dims.actions)
        items = tuple(sorted({min(max(item, 0), max(count - 1, 0)) for item in query.items})) or (0,)
        heads = tuple(sorted({head for head in self.heads if 0 <= head < dims.heads}))
        if len(heads) == dims.heads and dims.heads > 1:
            heads = ()
        region = tuple(sorted({cell for cell in self.region if dims.has_patch(cell)}))
        pinned = self.pinned
        if pinned is not None:
            words = max(dims.chips, pinned.query.items[-1] + 1)  # those of its own frame, which may have more
            pinned = pinned.bare().clamped(dims._replace(chips=words))
        return replace(
            self,
            frame=_clamp(self.frame, dims.frames),
            query=Query(query.kind, items),
            step=_clamp(self.step, dims.steps),
            layer=_clamp(self.layer, dims.layers),
            heads=heads,
            opacity=min(max(self.opacity, 0.0), 1.0),
            region=region,
            pinned=pinned,
        )

    def to_json(self) -> str:
        """Return one line of JSON with the fields that differ from a new view."""
        return json.dumps(_to_plain(self), separators=(",", ":"), ensure_ascii=False)


def _clamp(value: int, length: int) -> int:
    return min(max(value, 0), max(length - 1, 0))


def _to_plain(state: ViewState) -> dict[str, Any]:
    fresh = ViewState()
    different = {
        field.name: getattr(state, field.name)
        for field in fields(state)
        if getattr(state, field.name) != getattr(fresh, field.name)
    }
    if state.pinned is not None:
        different["pinned"] = _to_plain(state.pinned)
    if state.pins:
        different["pins"] = [{"name": pin.name, "view": _to_plain(pin.view)} for pin in state.pins]
    if "query" in different:
        different["query"] = state.query._asdict()
    if "sought" in different:
        different["sought"] = [list(word) for word in state.sought]
    return different


_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "reduce": get_args(Reduction),
    "measure": get_args(Measure),
    "scale": get_args(Scale),
    "unit": get_args(Unit),
    "range": get_args(Range),
    "colours": get_args(ColorMap),
    "picture": get_args(Picture),
    "film": get_args(Film),
    "curve": get_args(Curve),
    "compare": get_args(Compare),
    "wall": get_args(Wall),
}
CHOICES: Final = _CHOICES
"""Allowed values of the fields that hold one of several words."""


def _parse_integers(value: object, *, most: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > most or not all(type(item) is int for item in value):
        raise ValueError("a list of whole numbers is needed")
    return tuple(value)


def _parse_words(value: object) -> tuple[Word, ...]:
    kinds = [str, str, int, int]
    if not isinstance(value, list) or len(value) > 10_000:
        raise ValueError("a list of [role, text, number, state value] is needed")
    for item in value:
        if not isinstance(item, list) or [type(part) for part in item] != kinds:
            raise ValueError("a list of [role, text, number, state value] is needed")
    return tuple(Word(*item) for item in value)


def _parse_field(name: str, value: object) -> object:
    """Return the value of one field from JSON; ValueError if it does not fit."""
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise ValueError(f"one of {', '.join(_CHOICES[name])} is needed")
        return value
    if name == "score":
        if not isinstance(value, str):
            raise ValueError("the name of a score is needed")
        return value
    if name in {"frame", "step", "layer"}:
        if type(value) is not int:
            raise ValueError("a whole number is needed")
        return value
    if name == "dim":
        if value is not None and (type(value) is not int or value < 0):
            raise ValueError("the number of an action dimension is needed, or null")
        return value
    if name in {"low", "high", "opacity"}:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
            raise ValueError("a finite number is needed")
        return float(value)
    if name in {"smooth", "grid", "thumbnails"}:
        if not isinstance(value, bool):
            raise ValueError("true or false is needed")
        return value
    if name == "heads":
        return _parse_integers(value, most=1024)
    if name == "left_out":
        if not isinstance(value, list) or len(value) > 100 or not all(isinstance(item, str) for item in value):
            raise ValueError("a list of group names is needed")
        return tuple(value)
    if name == "region":
        if not isinstance(value, list) or len(value) > 10_000:
            raise ValueError("a list of [camera, row, col] is needed")
        cells = [_parse_integers(item, most=3) for item in value]
        if any(len(cell) != 3 for cell in cells):
            raise ValueError("a list of [camera, row, col] is needed")
        return tuple(cells)
    if name == "region_name":
        if not isinstance(value, str) or len(value) > MAX_NAME:
            raise ValueError("the name of a region is needed")
        return value
    if name == "query":
        if not isinstance(value, dict) or value.get("kind") not in get_args(Kind):
            raise ValueError('something like {"kind": "text", "items": [4]} is needed')
        items = _parse_integers(value.get("items"), most=10_000)
        if not items:
            raise ValueError("at least one item is needed")
        return Query(value["kind"], tuple(sorted(set(items))))
    if name == "sought":
        return _parse_words(value)
    if name == "pinned":
        return None if value is None else _parse_state({**_check_mapping(value), "pinned": None, "pins": []})
    if name == "pins":
        if not isinstance(value, list) or len(value) > MAX_PINS:
            raise ValueError(f"a list of at most {MAX_PINS} named views is needed")
        return tuple(_parse_pin(item) for item in value)
    raise AssertionError(name)


def _parse_pin(value: object) -> Pin:
    entry = _check_mapping(value)
    name = entry.get("name")
    if not isinstance(name, str):
        raise ValueError("each needs a name, which may be empty")  # noqa: TRY004 - one kind of error for the caller
    return Pin(name[:MAX_NAME], _parse_state({**_check_mapping(entry.get("view")), "pinned": None, "pins": []}))


def _check_mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object in braces is needed")  # noqa: TRY004 - one kind of error for the caller
    return value


def _parse_state(values: dict[str, Any]) -> ViewState:
    field_values: dict[str, Any] = {}
    for field in fields(ViewState):
        if field.name in values:
            try:
                field_values[field.name] = _parse_field(field.name, values[field.name])
            except ValueError as error:
                raise ValueError(f"{field.name}: {error}") from None
    return ViewState(**field_values)


def from_json(text: str) -> ViewState:
    """Return the view that `ViewState.to_json` wrote; unknown keys are ignored, UserError for wrong values."""
    if len(text) > MAX_JSON:
        raise UserError("The view is too long to be one; copy it again with “Copy view as command”.")
    try:
        return _parse_state(_check_mapping(json.loads(text)))
    except (ValueError, RecursionError) as error:
        raise UserError(f"The view cannot be read ({error}); copy it again with “Copy view as command”.") from None


def position(state: ViewState, axis: str, heads: int) -> int:
    """Return the place of a view on an axis; behind the `heads` heads come their mean and their maximum."""
    if axis != "head":
        return int(getattr(state, axis))
    if len(state.heads) == 1:
        return state.heads[0]
    return heads if state.reduce == "mean" else heads + 1


def moved(axis: str, value: int, heads: int) -> dict[str, object]:
    """Return the changes of fields that move a view to a place on an axis; see `position`."""
    if axis != "head":
        return {axis: value}
    if value < heads:
        return {"heads": (value,), "reduce": "mean"}
    return {"heads": (), "reduce": "mean" if value == heads else "max"}
