"""Resolve the arguments of an export against the open file, once, into an `ExportRequest`. No Qt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.results import schema
from viewer.analysis.effects.measured import create_attention_view
from viewer.analysis.frame_timeline import build_frame_timeline
from viewer.analysis.regions.regions_reading import read_checked_regions
from viewer.analysis.scores import find_score
from viewer.errors import UserError
from viewer.export import selection
from viewer.export.figures import effect_maps
from viewer.export.request import (
    SCALES,
    SIZES,
    Comparison,
    ExportRequest,
    axes_within_figure,
)
from viewer.export.resolve.query_resolver import QueryResolver
from viewer.export.resolve.subtracted_view import parse_comparison, suggest_comparison
from viewer.export.scenes import explain_read_errors
from viewer.export.selection import parse_positions
from viewer.model.view_state import ViewState
from viewer.regions.boxes import parse_region
from viewer.regions.file_versions import default_path
from viewer.regions.in_frames import find_named_region, follow_region_of_view, is_box
from viewer.runs.named_object import PLACEHOLDER, NamedObjects, read_objects

if TYPE_CHECKING:
    from viewer.export.arguments import ExportArguments
    from viewer.export.scenes import ExportSource
    from viewer.model.view_state import Wall


def resolve_request(source: ExportSource, arguments: ExportArguments) -> ExportRequest:
    """Return the export that arguments ask for, looked up in the open file.

    Raises:
        UserError: The file has no finished frame or cannot be read, or does not have what is asked for.
    """
    for results in (source.other, source.results):
        if results is not None and results.done == 0:
            raise UserError(f"{results.path.name} has no finished frame yet; wait until the capture has written one.")
    with explain_read_errors(source.results):
        return _RequestResolver(source, arguments).request()


class _RequestResolver:
    """The arguments, the file and the view to start from, which all steps need."""

    def __init__(self, source: ExportSource, arguments: ExportArguments) -> None:
        self.results, self.other, self.arguments = source.results, source.other, arguments
        self.start = arguments.view
        if self.start is not None:
            frame = min(max(self.start.frame, 0), self.results.done - 1)
            fitted = self.start.clamped(self.results.dims(frame))
            self.start = replace(fitted, sought=())  # of what is shown
            if fitted.region_name and not arguments.region and arguments.scores_region(fitted):
                self.arguments = arguments = replace(arguments, region=(fitted.region_name,))
        self.over = arguments.resolve_over()
        self.objects = self._read_objects()
        self.figure_axes = axes_within_figure(arguments.kind, self.over)
        self.is_of_effects = effect_maps.is_of_effects(arguments, self.over)
        self.query_resolver = QueryResolver(
            self.results, arguments, self.start, self.figure_axes, self._fill_object, is_of_effects=self.is_of_effects
        )

    def request(self) -> ExportRequest:
        results, arguments = self.results, self.arguments
        frames, unmeasured = effect_maps.choose_frames(results, arguments, self.over, self.frames())
        layers, steps, heads = self.layers(), self.steps(), self.heads()
        place = arguments.regions, arguments.file, results, frames
        region = find_named_region(arguments.region, *place, self._fill_object, read_checked_regions)
        left_out, frames = ((), frames) if region is None else (region.describe_left_out(frames), tuple(region.cells))
        view = self.view(frames, layers, steps)
        region = region or follow_region_of_view(view, *place, read_checked_regions)
        if region is not None:
            view = region.put_into(view)
        queries, notes = self.query_resolver.resolve(view, frames)
        view = replace(view, heads=() if len(heads) == results.heads and arguments.kind != "heads" else heads)
        return ExportRequest(
            kind=arguments.kind,
            file=results.path,
            other=None if self.other is None else self.other.path,
            effects=tuple(effect.path for effect in results.effects),
            other_effects=() if self.other is None else tuple(effect.path for effect in self.other.effects),
            folder=arguments.folder / selection.name_folder(results),
            format=arguments.format,
            overwrite=arguments.overwrite,
            processes=arguments.processes,
            view=view,
            over=self.over,
            frames=frames,
            layers=layers,
            steps=steps,
            heads=heads or tuple(range(results.heads)),
            queries=queries,
            reductions=tuple(dict.fromkeys(arguments.reduce)) or (view.reduce,),
            comparison=self.comparison(layers, frames),
            shares_range=arguments.range == "set",
            has_named_frames=bool(arguments.frames),
            notes=(*unmeasured, *left_out, *notes, *selection.describe_undefined(results, frames, queries)),
            region=region,
            outcome=None,
            has_effect_columns=False,
            table_of=arguments.table_of,
            dim=effect_maps.choose_dim_of_table(results, arguments, frames),
            width=arguments.size or SIZES.get(arguments.kind, 480),
            scale=arguments.scale or SCALES.get(arguments.kind, 2.0),
            theme=arguments.theme,
            caption=arguments.caption,
            rate=arguments.rate,
        )

    def _read_objects(self) -> NamedObjects:
        """Return what `{object}` stands for in each prompt."""
        arguments = self.arguments
        if not any(PLACEHOLDER in text for text in (*arguments.words, *arguments.region)):
            if arguments.objects is not None:
                raise UserError('--objects says what {object} stands for; add --words "{object}".')
            return NamedObjects()
        path = arguments.regions or (default_path(arguments.file) if isinstance(arguments.file, Path) else None)
        has_file = path is not None and path.exists()
        regions = tuple(read_checked_regions(path, self.results).regions) if path and has_file else self.results.regions
        return read_objects(arguments.objects, regions)

    def _fill_object(self, text: str, frame: int) -> str:
        """Return a text with the object that the prompt of a frame names in place of `{object}`."""
        return self.objects.fill(text, self.results.string(schema.FRAMES_PROMPT, frame))

    # Axes

    def frames(self) -> tuple[int, ...]:
        """Return the named frames, else the view's; over frames, all of its prompt in the order of playing."""
        results = self.results
        if self.arguments.frames:
            return parse_positions(self.arguments.frames, range(results.done), "frame")
        frame = 0 if self.start is None else self.start.frame
        if "frame" not in self.figure_axes:
            return (frame,)
        return build_frame_timeline(results).along(frame)

    def layers(self) -> tuple[int, ...]:
        results, arguments = self.results, self.arguments
        if arguments.layers and self._find_heads() == "best":
            raise UserError("The best heads are those of all layers; leave --layers out, or take --heads-of layer.")
        if arguments.layers:
            return parse_positions(arguments.layers, results.layers, "layer")
        if arguments.is_numbers or "layer" in self.figure_axes:
            return tuple(range(len(results.layers)))
        if self.start is not None:
            return (self.start.layer,)
        if self.is_of_effects:
            return (0,)  # all have the same
        if arguments.kind in {"summary", "heads"}:
            return tuple(range(len(results.layers)))
        return (len(results.layers) * 2 // 3,)

    def steps(self) -> tuple[int, ...]:
        results, arguments = self.results, self.arguments
        if arguments.steps and results.steps:
            return parse_positions(arguments.steps, results.steps, "denoise step")
        if "step" in self.figure_axes or (arguments.is_numbers and results.steps):
            return tuple(range(len(results.steps)))
        return (max(len(results.steps) - 1, 0) if self.start is None else self.start.step,)

    def heads(self) -> tuple[int, ...]:
        """Return the named heads, else the view's; empty where neither names any."""
        if self.arguments.heads:
            return parse_positions(self.arguments.heads, range(self.results.heads), "head")
        return () if self.start is None else self.start.heads

    def _find_heads(self) -> Wall:
        """Return which heads a wall has: as named, else the view's, else those of a layer; `off` for other kinds."""
        if self.arguments.kind != "wall":
            return "off"
        start = self.start.wall if self.start is not None else "off"
        return self.arguments.wall or ("layer" if start == "off" else start)

    # The view

    def view(self, frames: tuple[int, ...], layers: tuple[int, ...], steps: tuple[int, ...]) -> ViewState:
        """Return the view that all figures vary; it keeps its own place on an axis if that is among the chosen ones."""
        arguments = self.arguments
        view = self.start or ViewState(colours="viridis" if arguments.kind == "heads" else "inferno")
        view = effect_maps.unlock_other_unit(view, arguments, self.over)
        view = replace(
            view, **self._view_options(), **selection.parse_color_range(arguments.range), wall=self._find_heads()
        )
        if view.wall != "off":
            view = replace(view, thumbnails=False, compare="off", pinned=None)
        view = view if self.is_of_effects else create_attention_view(view)
        if arguments.left_out:
            view = replace(view, left_out=selection.parse_groups(self.results, arguments.left_out))
        if arguments.region:
            if all(map(is_box, arguments.region)):
                view = replace(view, region=parse_region(self.results, arguments.region), region_name="")
            if arguments.kind in {"wall", "atlas"}:  # its scores are about the region
                view = replace(
                    view, thumbnails=False, score=view.score if find_score(view.score).needs_region else "lift"
                )
        is_whole_film = self.start is not None and "frame" in self.figure_axes and not arguments.frames
        return replace(
            view,
            # A film leaves out some frames, and may leave out the view's.
            frame=view.frame if (is_whole_film and not self.is_of_effects) or view.frame in frames else frames[0],
            layer=view.layer if view.layer in layers else layers[0],
            step=view.step if self.start is not None and view.step in steps else steps[-1] if steps else 0,
        )

    def _view_options(self) -> dict[str, Any]:
        names = ("colours", "opacity", "picture", "smooth", "grid", "score", "thumbnails", "unit", "measure")
        look = {name: value for name in names if (value := getattr(self.arguments, name)) is not None}
        if self.arguments.dim is not None:
            look["dim"] = None if self.arguments.dim == "all" else self.arguments.dim
        if self.arguments.colour_scale is not None:
            look["scale"] = self.arguments.colour_scale
        field = {"film": "film", "curves": "curve"}.get(self.arguments.kind)
        return look | {field: self.over} if field else look

    def comparison(self, layers: tuple[int, ...], frames: tuple[int, ...]) -> Comparison | None:
        """Return what differs in the subtracted view."""
        if not self.arguments.against:
            has_pin = self.start is not None and self.start.pinned is not None
            if self.arguments.kind == "difference" and self.other is None and not has_pin:
                raise UserError(
                    "A difference needs two views; name the other with --against "
                    f"{self._suggest_comparison(layers, frames)[0]}, or give --other FILE."
                )
            return None
        suggestions = self._suggest_comparison(layers, frames)
        return parse_comparison(
            self.results,
            self.arguments.against,
            self.query_resolver.phases(),
            suggestions,
            is_of_effects=self.is_of_effects,
        )

    def _suggest_comparison(self, layers: tuple[int, ...], frames: tuple[int, ...]) -> list[str]:
        places = layers, self.heads(), frames
        return suggest_comparison(self.results, *places, is_of_effects=self.is_of_effects)
