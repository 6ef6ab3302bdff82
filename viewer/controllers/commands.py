"""The table of commands, from which menus, command palette, keyboard shortcuts and help are built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from viewer.controllers.availability import (
    require_action_query,
    require_comparison,
    require_effects,
    require_file,
    require_file_or_run,
    require_gradients,
    require_named_region,
    require_nothing,
    require_past_view,
    require_recording,
    require_region,
    require_region_to_change,
    require_regions,
    require_results,
    require_results_or_run,
    require_run,
    require_tracking,
    require_undone_view,
    require_value_norms,
)
from viewer.controllers.view_changes import to_measure
from viewer.model.attention import SINKS
from viewer.model.view_state import CHOICES, Query

if TYPE_CHECKING:
    from viewer.controllers.actions import Actions
    from viewer.model.view_state import Measure

Run = Callable[["Actions"], object]
"""Executes a command."""
Reason = Callable[["Actions"], str]
"""Returns why a command cannot run now; empty if it can."""
IsOn = Callable[["Actions"], bool]
"""Returns whether what a command switches is on."""


@dataclass(frozen=True, eq=False)
class Command:
    """A user command, started by key, menu or command palette."""

    id: str
    title: str
    section: str
    keys: tuple[str, ...]
    run: Run
    reason: Reason = require_results
    """Returns why the command cannot run now; empty if it can."""
    in_menu: bool = True
    is_on: IsOn | None = None
    """Whether what it switches is on, for a check mark in the menu; None for a command that switches nothing."""
    group: str = ""
    """Commands of one group exclude each other: their marks are those of radio buttons."""


def _step_axis(axis: str, by: int) -> Run:
    return lambda acts: acts.step_along(axis, by)


def _show_tab(name: str) -> Run:
    return lambda acts: acts.panels.show_tab(name)


def _show_head(number: int) -> Run:
    return lambda acts: acts.go_head(number)


def _choose_next(field: str) -> Run:
    def run(acts: Actions) -> None:
        words = CHOICES[field]
        index = words.index(getattr(acts.session.state, field))
        acts.session.update(**{field: words[(index + 1) % len(words)]})

    return run


def _toggle(field: str, one: object, other: object) -> Run:
    return lambda acts: acts.session.update(**{field: other if getattr(acts.session.state, field) == one else one})


def _set_measure(measure: Measure) -> Run:
    return lambda acts: acts.session.update(**to_measure(acts.session.state, measure, acts.session.results))


def _is_set(field: str, *values: object) -> IsOn:
    """Return whether a field of the view has one of some values."""
    return lambda acts: getattr(acts.session.state, field) in values


def _has_theme(name: str) -> IsOn:
    return lambda acts: acts.settings.text("theme", "system") == name


def _has_reduction(reduction: str) -> IsOn:
    return lambda acts: not acts.session.state.heads and acts.session.state.reduce == reduction


def _on_run_page(name: str, otherwise: Run) -> Run:
    """Return what asks the Run page for a command where it is shown, and otherwise runs `otherwise`."""
    return lambda acts: acts.run_page_requested.emit(name) if acts.is_run_shown else otherwise(acts)


def _toggle_sinks(acts: Actions) -> None:
    acts.session.update(left_out=() if acts.session.state.left_out else SINKS)


def _change_opacity(by: float) -> Run:
    return lambda acts: acts.session.update(opacity=round(min(max(acts.session.state.opacity + by, 0.0), 1.0), 2))


def _fold(acts: Actions) -> None:
    acts.panels.fold_tabs(not acts.panels.tabs_folded)


def _last_frame(acts: Actions) -> None:
    acts.session.update(frame=max(acts.session.dims.frames - 1, 0))


def _select_all(acts: Actions) -> None:
    query = acts.session.state.query
    dims = acts.session.dims
    count = dims.actions if query.kind == "action" else dims.chips
    if count:
        acts.session.update(query=Query(query.kind, tuple(range(count))))


FILE, LOOK, AXES, COMPARE, COLORS, HELP = (
    "File",
    "Look at",
    "Axes",
    "Compare",
    "Colours and picture",
    "Window and help",
)

TABLE: Final[tuple[Command, ...]] = (
    Command("open", "Open…", FILE, ("Ctrl+O",), lambda a: a.files.ask_file(), require_nothing),
    Command("effects", "Open effects…", FILE, (), lambda a: a.files.effects.ask_file(), require_file),
    Command("folder", "Open run folder…", FILE, ("Ctrl+Shift+O",), lambda a: a.files.ask_folder(), require_nothing),
    Command("address", "Open address…", FILE, ("Ctrl+L",), lambda a: a.files.ask_address(), require_nothing),
    Command("again", "Open again", FILE, ("F5",), lambda a: a.files.open_again(), require_file),
    Command("demo", "Open the demo", FILE, (), lambda a: a.files.demos.open_file(), require_nothing),
    Command("demo_run", "Open the demo’s run of 20 episodes", FILE, (), lambda a: a.files.demos.open_run(),
            require_nothing),
    Command("save", "Save picture…", FILE, ("Ctrl+S",),
            _on_run_page("export", lambda a: a.save_picture()), require_results_or_run),
    Command("export", "Export…", FILE, ("Ctrl+E",),
            _on_run_page("export", lambda a: a.sheet_requested.emit("export")), require_results_or_run),
    Command("copy", "Copy picture", FILE, ("Ctrl+C",),
            _on_run_page("copy", lambda a: a.copy_picture()), require_results_or_run),
    Command("share", "Copy view as command", FILE, ("Ctrl+Shift+C",),
            _on_run_page("share", lambda a: a.copy_command()), require_results_or_run),
    Command("info", "About this file", FILE, ("Ctrl+I",), lambda a: a.sheet_requested.emit("info"), require_file),
    Command("forget", "Forget recent files", FILE, (), lambda a: a.settings.forget_files(), require_nothing),
    Command("close", "Close", FILE, ("Ctrl+W",), lambda a: a.files.close(), require_file_or_run),
    Command("quit", "Quit", FILE, ("Ctrl+Q",), lambda a: a.window.close(), require_nothing),
    Command("undo", "Undo", LOOK, ("Ctrl+Z",),
            _on_run_page("undo", lambda a: a.session.undo()), require_past_view),
    Command("redo", "Redo", LOOK, ("Ctrl+Shift+Z", "Ctrl+Y"),
            _on_run_page("redo", lambda a: a.session.redo()), require_undone_view),
    Command("next_episode", "Next episode", LOOK, ("PgDown",), lambda a: a.step_episode(1), require_run),
    Command("last_episode", "Previous episode", LOOK, ("PgUp",), lambda a: a.step_episode(-1), require_run),
    Command("find", "Find an episode", LOOK, ("Ctrl+F",), lambda a: a.episodes_requested.emit("filter"), require_run),
    Command("run", "Answers over the whole run", LOOK, ("Shift+R",),
            lambda a: a.run_page_requested.emit("toggle"), require_nothing, is_on=lambda a: a.is_run_shown),
    Command("next_token", "Next word or action", LOOK, ("W",), lambda a: a.step_query(1)),
    Command("last_token", "Previous word or action", LOOK, ("Shift+W",), lambda a: a.step_query(-1)),
    Command("swap", "Actions instead of words", LOOK, ("A",), lambda a: a.swap_kind(),
            is_on=lambda a: a.session.state.query.kind == "action"),
    Command("all", "All words or all actions together", LOOK, ("Ctrl+A",), _select_all),
    Command("ranked", "Next best head in the atlas", LOOK, ("N",), lambda a: a.panels.step_ranked(1)),
    Command("unranked", "Next worse-ranked head back", LOOK, ("Shift+N",), lambda a: a.panels.step_ranked(-1)),
    Command("score", "Next score of the atlas", LOOK, (), lambda a: a.panels.next_score()),
    Command("wall", "Wall of the layer’s heads", LOOK, ("O",), _toggle("wall", "off", "layer"),
            is_on=_is_set("wall", "layer"), group="wall"),
    Command("best", "Wall of the best heads of all by the score", LOOK, ("Shift+O",), _toggle("wall", "off", "best"),
            is_on=_is_set("wall", "best"), group="wall"),
    Command("film", "Next kind of film", LOOK, ("F",), _choose_next("film")),
    Command("curve", "Next axis of the curves", LOOK, (), _choose_next("curve")),
    Command("lookers", "Who looks at the region?", LOOK, ("R",), _show_tab("region_ranking"), require_region),
    Command("regions", "Named regions", LOOK, ("Y",), _show_tab("regions")),
    Command("name_region", "Name the region and track it…", LOOK, ("Ctrl+R",), lambda a: a.panels.name_region(),
            require_region_to_change),
    Command("next_region", "Next named region", LOOK, ("Shift+Y",), lambda a: a.regions.choose_next(), require_regions),
    Command("lost", "Next frame in which tracking lost a region", LOOK, ("J",), lambda a: a.regions.go_to_stop(),
            require_regions),
    Command("track_again", "Track the named region again", LOOK, (),
            lambda a: a.regions.track_again(a.session.state.region_name), require_named_region),
    Command("remove_region", "Remove the named region", LOOK, (),
            lambda a: a.regions.remove(a.session.state.region_name), require_named_region),
    Command("stop_tracking", "Stop tracking", LOOK, (), lambda a: a.regions.process.cancel(), require_tracking),
    Command("region_effect", "Effect of this region", LOOK, ("Ctrl+Shift+E",),
            lambda a: a.show_region_effect(), require_region),
    Command("scatter", "Heads: attention against effect", LOOK, (), _show_tab("effect")),
    Command("actions", "Predicted actions", LOOK, (), _show_tab("action_chart")),
    Command("sinks", "Leave sinks out", LOOK, ("S",), _toggle_sinks,
            is_on=lambda a: bool(a.session.state.left_out)),
    Command("escape", "Clear region, selection, focus", LOOK, ("Escape",), lambda a: a.escape(), require_nothing),
    Command("left", "Previous frame", AXES, ("Left",), lambda a: a.step_frame(-1)),
    Command("right", "Next frame", AXES, ("Right",), lambda a: a.step_frame(1)),
    Command("left10", "Ten frames back", AXES, ("Shift+Left",), lambda a: a.step_frame(-10)),
    Command("right10", "Ten frames on", AXES, ("Shift+Right",), lambda a: a.step_frame(10)),
    Command("prompt", "Same moment, next prompt", AXES, ("T",), lambda a: a.cycle_prompt(1)),
    Command("last_prompt", "Same moment, previous prompt", AXES, ("Shift+T",), lambda a: a.cycle_prompt(-1)),
    Command("home", "First frame", AXES, ("Home",), lambda a: a.session.update(frame=0)),
    Command("end", "Last frame", AXES, ("End",), _last_frame),
    Command("up", "Next layer", AXES, ("Up",), _step_axis("layer", 1)),
    Command("down", "Previous layer", AXES, ("Down",), _step_axis("layer", -1)),
    Command("step_back", "Previous denoise step", AXES, ("[",), _step_axis("step", -1), require_action_query),
    Command("step_on", "Next denoise step", AXES, ("]",), _step_axis("step", 1), require_action_query),
    *(Command(f"head{n}", f"Head {n}", AXES, (str(n),), _show_head(n), in_menu=False) for n in range(10)),
    Command("mean", "Mean of heads", AXES, ("M",), lambda a: a.session.update(heads=(), reduce="mean"),
            is_on=_has_reduction("mean"), group="heads"),
    Command("max", "Maximum of heads", AXES, ("Shift+M",), lambda a: a.session.update(heads=(), reduce="max"),
            is_on=_has_reduction("max"), group="heads"),
    Command("play", "Play", AXES, ("Space",), lambda a: a.playback.toggle(), is_on=lambda a: bool(a.playback.axis)),
    Command("play_frame", "Play frames", AXES, (), lambda a: a.playback.toggle("frame")),
    Command("play_layer", "Play layers", AXES, (), lambda a: a.playback.toggle("layer")),
    Command("play_step", "Play denoise steps", AXES, (), lambda a: a.playback.toggle("step"), require_action_query),
    Command("faster", "Play frames faster", AXES, (".",), lambda a: a.playback.change_speed(1)),
    Command("slower", "Play frames slower", AXES, (",",), lambda a: a.playback.change_speed(-1)),
    Command("follow", "Follow new frames while recording", AXES, (), lambda a: a.files.toggle_follow(),
            require_recording),
    Command("pin", "Pin this view", COMPARE, ("P",), lambda a: a.pin()),
    Command("side", "Side by side with the pin", COMPARE, ("Ctrl+B",), _toggle("compare", "side", "off"),
            require_comparison,
            is_on=_is_set("compare", "side")),
    Command("difference", "Difference to the pin", COMPARE, ("D",), _toggle("compare", "difference", "off"),
            require_comparison,
            is_on=_is_set("compare", "difference")),
    Command("effect_side", "Effect beside attention", COMPARE, ("Shift+E",), lambda a: a.show_effect_beside(),
            require_effects),
    Command("go_pin", "Go to the pinned view", COMPARE, (), lambda a: a.go_pin(), require_comparison),
    Command("second", "Compare with another file…", COMPARE, (), lambda a: a.files.ask_other()),
    Command("unpin", "End comparison", COMPARE, ("Shift+P",), lambda a: a.unpin(), require_comparison),
    Command("picture", "The model’s picture", COLORS, ("V",), _toggle("picture", "source", "model"),
            is_on=_is_set("picture", "model")),
    Command("smooth", "Smooth heat (bilinear)", COLORS, ("I",), _toggle("smooth", False, True),
            is_on=_is_set("smooth", True)),
    Command("grid", "Patch grid", COLORS, ("G",), _toggle("grid", True, False), is_on=_is_set("grid", True)),
    Command("link_zoom", "Zoom all pictures together", COLORS, ("Z",), lambda a: a.link_zoom(),
            is_on=lambda a: a.panels.is_zoom_linked),
    Command("whole", "Show whole pictures", COLORS, ("Shift+Z",), lambda a: a.panels.reset_zoom()),
    Command("fainter", "Fainter heat", COLORS, ("-",), _change_opacity(-0.1)),
    Command("stronger", "Stronger heat", COLORS, ("+", "=", "Shift++"), _change_opacity(0.1)),
    Command("colours", "Next colour map", COLORS, ("C",), _choose_next("colours")),
    Command("from_uniform", "Range from 1 × uniform", COLORS, (), lambda a: a.session.update(range="uniform"),
            is_on=_is_set("range", "uniform"), group="range"),
    Command("from_zero", "Range from 0", COLORS, (), lambda a: a.session.update(range="shared"),
            is_on=_is_set("range", "shared"), group="range"),
    Command("range", "A range for each map", COLORS, (), lambda a: a.session.update(range="map"),
            is_on=_is_set("range", "map"), group="range"),
    Command("lock", "Locked range", COLORS, ("K",), lambda a: a.lock_range(), is_on=_is_set("range", "locked"),
            group="range"),
    Command("linear", "Linear colours", COLORS, (), lambda a: a.session.update(scale="linear"),
            is_on=_is_set("scale", "linear"), group="scale"),
    Command("log", "Logarithmic colours", COLORS, ("L",), _toggle("scale", "linear", "log"),
            is_on=_is_set("scale", "log"), group="scale"),
    Command("rank", "Colours by rank", COLORS, (), _toggle("scale", "linear", "rank"), is_on=_is_set("scale", "rank"),
            group="scale"),
    Command("uniform", "Times uniform", COLORS, ("U",), lambda a: a.panels.toggle_uniform(),
            is_on=_is_set("unit", "uniform")),
    Command("weights", "Weights", COLORS, (), _set_measure("weight"), is_on=_is_set("measure", "weight"),
            group="measure"),
    Command("norms", "Weight × value norm", COLORS, (), _set_measure("contribution"), require_value_norms,
            is_on=_is_set("measure", "contribution"), group="measure"),
    Command("effect_map", "Measured effects", COLORS, (), _set_measure("effect"), require_effects,
            is_on=_is_set("measure", "effect"), group="measure"),
    Command("gradient_map", "Attention weighted by gradients", COLORS, (), _set_measure("gradient"), require_gradients,
            is_on=_is_set("measure", "gradient"), group="measure"),
    Command("palette", "Command palette", HELP, ("Ctrl+P",), lambda a: a.sheet_requested.emit("palette"),
            require_nothing),
    Command("help", "Keys and help", HELP, ("?", "F1", "Shift+?"), lambda a: a.sheet_requested.emit("help"),
            require_nothing),
    Command("tour", "Show the tour", HELP, (), lambda a: a.sheet_requested.emit("tour")),
    Command("dark", "Dark theme", HELP, (), lambda a: a.theme_requested.emit("dark"), require_nothing,
            is_on=_has_theme("dark"), group="theme"),
    Command("light", "Light theme", HELP, (), lambda a: a.theme_requested.emit("light"), require_nothing,
            is_on=_has_theme("light"), group="theme"),
    Command("system", "Theme of the system", HELP, (), lambda a: a.theme_requested.emit("system"), require_nothing,
            is_on=_has_theme("system"), group="theme"),
    Command("episodes", "List of episodes", HELP, ("Ctrl+Shift+L",), lambda a: a.episodes_requested.emit(""),
            require_run),
    Command("deck", "Fold the panels under the words", HELP, ("Ctrl+J",), _fold,
            is_on=lambda a: a.panels.tabs_folded),
    Command("pictures_only", "Pictures only", HELP, ("X",),
            lambda a: a.panels.show_pictures_only(not a.panels.pictures_only),
            is_on=lambda a: a.panels.pictures_only),
    Command("heights", "Heights and widths that fit the window", HELP, (), lambda a: a.panels.reset_sizes()),
    Command("full", "Full screen", HELP, ("F11",), lambda a: a.toggle_full(), require_nothing,
            is_on=lambda a: a.window.isFullScreen()),
)  # fmt: skip

HELD: Final = (
    ("H", "Hold to see the bare picture"),
    ("B", "Hold to blink to the pinned view"),
    ("E", "Hold to see the effect in place of the attention"),
)
"""Keys that act while they are held down: key and description."""
HELD_KEYS: Final = frozenset(key for key, _ in HELD)

BY_ID: Final = {command.id: command for command in TABLE}
BY_KEY: Final = {key: command for command in TABLE for key in command.keys}


def key_hint(command: str) -> str:
    """Return the first key of a command as a button shows it, such as “Ctrl E”."""
    return BY_ID[command].keys[0].replace("+", " ")


def matching(words: str) -> list[Command]:
    """Return the commands whose title or section contains every word of `words`, those that start with it first."""
    parts = words.lower().split()
    commands = [
        command for command in TABLE if all(part in f"{command.title} {command.section}".lower() for part in parts)
    ]
    return sorted(commands, key=lambda command: not command.title.lower().startswith(words.lower().strip()))
