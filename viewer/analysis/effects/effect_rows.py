"""Measured effects of one frame in long form: a line for each patch, word or target and action dimension. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis.effects.measured import MAPS, find_dims, find_map
from viewer.analysis.effects.word_effects import find_word_effects, find_word_relevances
from viewer.model.noise_multiples import multiple_of, root_mean_square

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from viewer.io.effects import Effects
    from viewer.io.results import Results
    from viewer.model.effects import TargetEffect
    from viewer.model.view_state import Cell, Query

    Column = npt.NDArray[Any]

ALL_DIMS: Final = "all"
"""What the column `dim` has for all action dimensions together, as the option `--dim` has."""
COLUMNS: Final = {
    "what": "Of --of effects, as the columns to “gradient”: patch; word, of the text; or target region, target word "
    "or target replacement, which were named when the effects were measured.",
    "name": "The word, or the name of the target; empty for a patch.",
    "method": "What was done for the effect, such as “hidden from the actions”; empty where there is none.",
    "dim": "all, or the number of an action dimension, from 0.",
    "effect": "How far the actions move, as a multiple of what other noise alone does: for all dimensions the root "
    "mean square change of the query’s actions, for a single one that of all actions of the chunk, whatever the query. "
    "With --of maps that of --dim, beside each weight; of words that on all actions. nan where it was not measured.",
    "noise": "What other noise alone does to these actions and dimensions, in the policy’s normalised units.",
    "controls": "Number of random regions of the target’s shape; 0 for single dimensions.",
    "control median": "Their median effect, × noise.",
    "controls smaller": "How many of them have a smaller effect than the target.",
    "gradient": "Relevance for the query’s actions by attention and the gradient of the dimension (Chefer et al. "
    "2021), for all the mean of the measured ones; of a word the mean of its tokens. With --of maps that of --dim. "
    "nan where it was not measured.",
}
"""Columns that hold effects, and what each holds."""


class _Lines:
    """Lines of a table as they are gathered: each part has the same columns."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Column]] = []
        self.add(0)

    def add(self, count: int, **columns: object) -> None:
        """Add some lines; a single value of a column is that of all of them, and columns without one are empty."""
        values = {
            "what": "", "name": "", "camera": "", "row": -1, "col": -1, "bar": False, "in region": False,
            "dim": ALL_DIMS, "effect": np.nan, "gradient": np.nan, "noise": np.nan, "method": "",
            "controls": 0, "control median": np.nan, "controls smaller": 0,
        }  # fmt: skip
        self.parts.append(
            {
                name: np.broadcast_to(np.asarray(column, object if isinstance(column, str) else None), count)
                for name, column in (values | columns).items()
            }
        )

    def columns(self) -> dict[str, Column]:
        """Return the columns of all lines, floats as float32."""
        joined = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        return {
            name: column.astype(np.float32) if column.dtype.kind == "f" else column for name, column in joined.items()
        }


def read_effect_rows(
    results: Results, frame: int, query: Query, region: Sequence[Cell] = (), dim: int | None = None
) -> dict[str, Column]:
    """Return the lines of a query of actions in a frame: those of patches, of words and of targets, by COLUMNS.

    Args:
        results: The open file with its effects, the file to prefer first.
        frame: Position of the frame.
        query: The actions whose effects are meant.
        region: Patches that have True in the column `in region`.
        dim: The one action dimension that is meant; None for all together and each by itself.
    """
    dims = tuple(sorted({*find_measured_dims(results, frame), *find_dims(results, frame, "gradient")}))
    chosen: tuple[int | None, ...] = (None, *dims) if dim is None else (dim,)
    lines = _Lines()
    _add_patches(lines, results, frame, query, region, chosen)
    _add_words(lines, results, frame, query, chosen)
    _add_targets(lines, results, frame, query, chosen)
    return lines.columns()


def read_map_columns(
    results: Results, frame: int, query: Query, dim: int | None, measures: Sequence[str]
) -> dict[str, Column]:
    """Return the effect or gradient of each patch by name, (patches,) each; NaN where it was not measured."""
    shape = len(results.cameras), *results.grid.shape
    columns = {}
    for measure in measures:
        effect_map = find_map(results, frame, query, measure, dim)
        columns[measure] = (np.full(shape, np.nan, np.float32) if effect_map is None else effect_map.values).ravel()
    return columns


def find_measured_dims(results: Results, frame: int) -> tuple[int, ...]:
    """Return the action dimensions of which a frame has effects of patches or of targets, ascending."""
    dims = set(find_dims(results, frame, "effect"))
    for effects in results.effects:
        for target in effects.target_effects(frame):
            if target.model_change is not None and target.change is not None:
                dims.update(range(min(target.model_change.shape[1], target.change.shape[1])))
    return tuple(sorted(dims))


def measures_with_maps(results: Results) -> tuple[str, ...]:
    """Return which of effect and gradient the effects files of a results file have maps of."""
    return tuple(measure for measure, name in MAPS.items() if any(effects.has(name) for effects in results.effects))


def _name_dim(dim: int | None) -> str:
    return ALL_DIMS if dim is None else str(dim)


def _add_patches(
    lines: _Lines, results: Results, frame: int, query: Query, region: Sequence[Cell], dims: Sequence[int | None]
) -> None:
    shape = len(results.cameras), *results.grid.shape
    camera, row, col = np.indices(shape).reshape(3, -1)
    inside = np.zeros(shape, np.bool_)
    for cell in region:
        inside[cell] = True
    place = {
        "what": "patch", "camera": np.array(results.cameras, object)[camera], "row": row, "col": col,
        "bar": results.bars(frame).ravel(), "in region": inside.ravel(),
    }  # fmt: skip
    for dim in dims:
        effect, gradient = (find_map(results, frame, query, measure, dim) for measure in ("effect", "gradient"))
        values: dict[str, object] = {} if gradient is None else {"gradient": gradient.values.ravel()}
        if effect is not None:
            values |= {"effect": effect.values.ravel(), "noise": effect.floor, "method": effect.method.phrase}
        if values:
            lines.add(len(row), **place, dim=_name_dim(dim), **values)


def _add_words(lines: _Lines, results: Results, frame: int, query: Query, dims: Sequence[int | None]) -> None:
    chips = results.chips(frame)
    effects = find_word_effects(results, frame, query)
    for dim in dims:
        relevances = find_word_relevances(results, frame, query, dim)
        gradients = np.full(len(chips), np.nan, np.float32)
        if relevances is not None:
            gradients = np.array([relevances[list(chip.tokens)].mean() if chip.tokens else np.nan for chip in chips])
        values: dict[str, object] = {}
        if effects is not None and dim is None:
            values = {"effect": effects.words, "noise": effects.floor, "method": effects.method.phrase}
        if values or np.isfinite(gradients).any():
            names = np.array([chip.label for chip in chips], object)
            lines.add(len(chips), what="word", name=names, dim=_name_dim(dim), gradient=gradients, **values)


def _add_targets(lines: _Lines, results: Results, frame: int, query: Query, dims: Sequence[int | None]) -> None:
    whole = query.kind != "action" or len(query.items) == results.horizon
    actions = () if whole else query.items
    for effects in results.effects:
        for target in effects.target_effects(frame):
            for dim in dims:
                values = _of_target(target, actions) if dim is None else _of_target_dim(effects, frame, target, dim)
                if values:
                    row_kind, method = f"target {target.kind}", target.phrase
                    lines.add(1, what=row_kind, name=target.name, method=method, dim=_name_dim(dim), **values)


def _of_target(target: TargetEffect, actions: tuple[int, ...]) -> dict[str, object]:
    comparison = target.compare_with_noise(actions)
    return {
        "effect": comparison.multiple, "noise": target.noise_floor(actions), "controls": len(comparison.controls),
        "control median": comparison.median, "controls smaller": comparison.smaller,
    }  # fmt: skip


def _of_target_dim(effects: Effects, frame: int, target: TargetEffect, dim: int) -> dict[str, object]:
    if target.model_change is None or dim >= target.model_change.shape[1]:
        return {}
    noise = effects.floor_of_dim(frame, dim)
    return {"effect": multiple_of(root_mean_square(target.model_change[:, dim]), noise), "noise": noise}
