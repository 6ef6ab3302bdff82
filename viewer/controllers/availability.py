"""Checks whether commands are available: each returns why one cannot run now, or an empty string if it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewer.analysis.effects.measured import find_map_unavailable_reason
from viewer.analysis.regions.carried_region import describe_region

if TYPE_CHECKING:
    from viewer.controllers.actions import Actions


def require_nothing(_: Actions) -> str:
    """Return no reason: the command is always available."""
    return ""


def require_results(acts: Actions) -> str:
    """Require an open file with at least one complete frame, and that the episode is shown, not the Run page."""
    if acts.is_run_shown:
        return "go back to the episode first (Shift+R)"
    results = acts.session.results
    return "" if results is not None and results.done else "open a results file first"


def require_results_or_run(acts: Actions) -> str:
    """Require an open file with at least one complete frame, or the Run page."""
    return "" if acts.is_run_shown else require_results(acts)


def require_action_query(acts: Actions) -> str:
    """Require an action query, since only actions have denoise steps."""
    return require_results(acts) or (
        "" if acts.session.state.query.kind == "action" else "words have one pass: no denoise steps"
    )


def require_comparison(acts: Actions) -> str:
    """Require a pinned view or a second file."""
    return require_results(acts) or ("" if acts.session.other or acts.session.state.pinned else "pin a view first (P)")


def require_file(acts: Actions) -> str:
    """Require an open file, with or without complete frames."""
    return "" if acts.session.results is not None else "no file is open"


def require_run(acts: Actions) -> str:
    """Require an open run."""
    return "" if acts.files.run is not None else "open the folder of a run first"


def require_file_or_run(acts: Actions) -> str:
    """Require an open file or run."""
    return "" if acts.files.run is not None else require_file(acts)


def require_past_view(acts: Actions) -> str:
    """Require a view to undo to."""
    return "" if acts.session.can_undo or acts.is_run_shown else "nothing to undo"


def require_undone_view(acts: Actions) -> str:
    """Require a view to redo."""
    return "" if acts.session.can_redo or acts.is_run_shown else "nothing to redo"


def require_recording(acts: Actions) -> str:
    """Require a file that is still being written."""
    results = acts.session.results
    return require_results(acts) or ("" if results is not None and results.growing else "the recording is complete")


def require_value_norms(acts: Actions) -> str:
    """Require a file with value norms."""
    return require_results(acts) or ("" if acts.panels.has_value_norms else "this file has no value norms")


def require_effects(acts: Actions) -> str:
    """Require an effect map of the shown frame."""
    results = acts.session.results
    if results is None or not results.done:
        return require_results(acts)
    return find_map_unavailable_reason(results, acts.session.state.frame)


def require_gradients(acts: Actions) -> str:
    """Require gradients of the shown frame."""
    results = acts.session.results
    if results is None or not results.done:
        return require_results(acts)
    return find_map_unavailable_reason(results, acts.session.state.frame, "gradient")


def require_region(acts: Actions) -> str:
    """Require a selected region."""
    state = acts.session.state
    return require_results(acts) or ("" if state.region else describe_region(state) or "drag a box on a picture first")


def require_regions(acts: Actions) -> str:
    """Require a file with named regions."""
    known_patches = acts.session.regions
    return require_results(acts) or (
        "" if known_patches is not None and known_patches.regions else "this file has no named regions"
    )


def require_named_region(acts: Actions) -> str:
    """Require a chosen named region that can be changed."""
    known_patches, name = acts.session.regions, acts.session.state.region_name
    is_chosen = known_patches is not None and name in known_patches.regions
    return (
        require_results(acts)
        or acts.regions.find_unavailable_reason()
        or ("" if is_chosen else "choose a named region first")
    )


def require_region_to_change(acts: Actions) -> str:
    """Require marked patches, or a chosen named region, of a file whose regions can be changed."""
    state = acts.session.state
    is_chosen = bool(state.region or state.region_name)
    return (
        require_results(acts)
        or acts.regions.find_unavailable_reason()
        or ("" if is_chosen else "drag a box on a picture first")
    )


def require_tracking(acts: Actions) -> str:
    """Require that a region is being tracked."""
    return require_results(acts) or ("" if acts.regions.process.is_running else "nothing is being tracked")
