"""The named region of a view in another frame, and in words. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from viewer.model.view_state import ViewState
    from viewer.regions.known_patches import KnownPatches


def place_region(view: ViewState, regions: KnownPatches | None, frame: int | None) -> ViewState:
    """Return the view with the patches that its named region has in its own frame; none where it is not known there.

    Args:
        view: The view; one whose region has no name stays as it is.
        regions: The regions of the file; None while they are not known, or where there is no file of them.
        frame: The frame in which the view's patches lie, which they then keep; None for none.
    """
    if not view.region_name:
        return view
    if regions is not None:
        cells = regions.find_cells(view.region_name, view.frame) or ()
    else:
        cells = view.region if view.frame == frame else ()
    return view if cells == view.region else replace(view, region=cells)


def describe_region(view: ViewState) -> str:
    """Return `region duck`, and where it has no patch in the frame that it may be unknown; empty without a name."""
    if not view.region_name:
        return ""
    name = f"region {clean_text(view.region_name)}"
    return name if view.region else f"{name}, unknown or absent in this frame"
