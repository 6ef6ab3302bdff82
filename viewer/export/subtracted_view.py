"""Read the options that say what is subtracted from a view: `--against layer=4`. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viewer.errors import UserError
from viewer.export.request import Comparison
from viewer.export.selection import parse_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.export.request import Phase
    from viewer.io.results import Results


def parse_comparison(
    results: Results, against: Sequence[str], phases: Sequence[Phase], suggestions: Sequence[str]
) -> Comparison:
    """Return what differs in the subtracted view, read from texts such as `layer=4`.

    `phases` are those of the export; `suggestions` are named in the message about a text that cannot be read.

    Raises:
        UserError: A text cannot be read, or names what the file does not have.
    """
    fields = dict[str, Any]()
    for part in against:
        field, _, value = part.partition("=")
        if field == "frame":
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
            raise UserError(
                f"--against {part} cannot be read; write frame=, word=, action=, step=, layer=, head= or reduce=, "
                f"such as {' or '.join(suggestions[:2])}."
            )
    return Comparison(**fields)


def suggest_comparison(
    results: Results, layers: Sequence[int], heads: Sequence[int], frames: Sequence[int]
) -> list[str]:
    """Return values for --against that the file has and the view does not show, the best first; never empty.

    `layers`, `heads` and `frames` are the places that the view shows.
    """
    shown = {
        "layer": {results.layers[layer] for layer in layers},
        "head": set(heads) if len(heads) == 1 else set(),
        "frame": set(frames),
    }
    known = {"layer": results.layers, "head": range(results.heads), "frame": range(results.done)}
    found = [
        f"{field}={other}"
        for field, values in known.items()
        if len(values) > 1
        and (other := next((value for value in values if value not in shown[field]), None)) is not None
    ]
    return [*found, "reduce=max"]
