"""Read the options that say what is subtracted from a view: `--against layer=4`. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from viewer.analysis.effects.measured import list_mapped_frames
from viewer.errors import UserError
from viewer.export.request import Comparison
from viewer.export.selection import parse_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.export.request import Phase
    from viewer.io.results import Results

FIELDS: Final = "frame=, word=, action=, step=, layer=, head=, reduce= or, of effects, dim="
OF_ATTENTION: Final = frozenset({"word", "step", "layer", "head", "reduce"})
"""Fields in which effects and gradients cannot differ."""
MOST_DIGITS: Final = 9


def parse_comparison(
    results: Results,
    against: Sequence[str],
    phases: Sequence[Phase],
    suggestions: Sequence[str],
    *,
    is_of_effects: bool,
) -> Comparison:
    """Return what differs in the subtracted view, read from texts such as `layer=4`.

    `phases` are those of the export; `suggestions` are named in the message about a text that cannot be read.
    `is_of_effects`: whether effects or gradients are subtracted, which have dimensions, and no layer, step or head.

    Raises:
        UserError: A text cannot be read, or names what the file does not have.
    """
    fields = dict[str, Any]()
    for part in against:
        field, _, value = part.partition("=")
        if is_of_effects and field in OF_ATTENTION:
            problem = "are on the actions" if field == "word" else f"have no {field}"
            raise UserError(
                f"--against {part} is of attention, and effects and gradients {problem}; write frame=, action= or "
                f"dim=, such as {' or '.join(suggestions[:2])}."
            )
        if field == "dim" and not is_of_effects:
            raise UserError(f"--against {part} is of effects or gradients; add --measure effect or --measure gradient.")
        if field == "dim" and _is_dim(value):
            fields["dim"] = "all" if value == "all" else int(value)
        elif field == "frame":
            fields["frame"] = parse_positions(value, range(results.done), "frame")[0]
        elif field == "layer":
            fields["layer"] = parse_positions(value, results.layers, "layer")[0]
        elif field == "step" and "prefix" in phases:
            raise UserError("Words have one pass and no denoise steps to compare; name --actions, or --phase suffix.")
        elif field == "step":
            fields["step"] = parse_positions(value, results.steps, "denoise step")[0]
        elif field == "head":
            fields["heads"] = parse_positions(value, range(results.heads), "head")
        elif field == "action":
            fields["actions"] = parse_positions(value, range(results.horizon), "action")
        elif field == "word":
            fields["word"] = value
        elif field == "reduce" and value in {"mean", "max"}:
            fields["reduce"] = value
        else:
            raise UserError(f"--against {part} cannot be read; write {FIELDS}, such as {' or '.join(suggestions[:2])}.")
    return Comparison(**fields)


def _is_dim(text: str) -> bool:
    return text == "all" or (text.isascii() and text.isdigit() and len(text) < MOST_DIGITS)


def suggest_comparison(
    results: Results, layers: Sequence[int], heads: Sequence[int], frames: Sequence[int], *, is_of_effects: bool
) -> list[str]:
    """Return values for --against that the file has and the view does not show, the best first; never empty.

    `layers`, `heads` and `frames` are the places that the view shows.
    """
    if is_of_effects:
        measured = [frame for frame in list_mapped_frames(results) if frame not in set(frames)][:1]
        return [*(f"frame={frame}" for frame in measured), "action=0", "dim=0"]
    shown = {
        "layer": {results.layers[layer] for layer in layers},
        "head": set(heads) if len(heads) == 1 else set(),
        "frame": set(frames),
    }
    values_by_field = {"layer": results.layers, "head": range(results.heads), "frame": range(results.done)}
    options = [
        f"{field}={other}"
        for field, values in values_by_field.items()
        if len(values) > 1
        and (other := next((value for value in values if value not in shown[field]), None)) is not None
    ]
    return [*options, "reduce=max"]
