"""The one table of commands: menus, palette, keys and the help sheet are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from viewer.attention import SINKS
from viewer.state import CHOICES, Query

if TYPE_CHECKING:
    from viewer.window import Window

Run = Callable[["Window"], object]
Reason = Callable[["Window"], str]


def always(_: Window) -> str:
    """A command that can be given at any time."""
    return ""


def opened(window: Window) -> str:
    """A command that needs a file."""
    results = window.session.results
    return "" if results is not None and results.done else "open a results file first"


def with_actions(window: Window) -> str:
    """A command that needs denoise steps."""
    return opened(window) or (
        "" if window.session.state.query.kind == "action" else "words have one pass: no denoise steps"
    )


def with_pin(window: Window) -> str:
    """A command that needs something to compare with."""
    return opened(window) or ("" if window.session.pin is not None else "pin a view first (P)")


def with_file(window: Window) -> str:
    """A command that needs an open file, finished frames or not."""
    return "" if window.session.results is not None else "no file is open"


def with_past(window: Window) -> str:
    """A command that needs a view to go back to."""
    return "" if window.session.can_undo else "nothing to undo"


def with_future(window: Window) -> str:
    """A command that needs a view to go forth to."""
    return "" if window.session.can_redo else "nothing to redo"


def while_recording(window: Window) -> str:
    """A command that needs a capture that is still running."""
    results = window.session.results
    return opened(window) or ("" if results is not None and results.growing else "the recording is complete")


def with_norms(window: Window) -> str:
    """A command that needs value norms."""
    return opened(window) or ("" if window.room.heat.norms.isEnabled() else "this file has no value norms")


def with_region(window: Window) -> str:
    """A command that needs a region."""
    return opened(window) or ("" if window.session.state.region else "drag a box on a picture first")


@dataclass(frozen=True)
class Command:
    """One thing that can be done, by key, menu or palette."""

    id: str
    title: str
    section: str
    keys: tuple[str, ...]
    run: Run
    reason: Reason = opened
    """Why it cannot be done now; empty if it can."""
    in_menu: bool = True


def _axis(axis: str, by: int) -> Run:
    return lambda window: window.step_along(axis, by)


def _head(number: int) -> Run:
    return lambda window: window.go_head(number)


def _cycle(field: str) -> Run:
    def run(window: Window) -> None:
        words = CHOICES[field]
        here = words.index(getattr(window.session.state, field))
        window.session.update(**{field: words[(here + 1) % len(words)]})

    return run


def _switch(field: str, one: object, other: object) -> Run:
    return lambda window: window.session.update(
        **{field: other if getattr(window.session.state, field) == one else one}
    )


def _sinks(window: Window) -> None:
    window.session.update(left_out=() if window.session.state.left_out else SINKS)


def _opacity(by: float) -> Run:
    return lambda window: window.session.update(opacity=round(min(max(window.session.state.opacity + by, 0.0), 1.0), 2))


def _last_frame(window: Window) -> None:
    window.session.update(frame=max(window.session.dims.frames - 1, 0))


def _everything(window: Window) -> None:
    query = window.session.state.query
    dims = window.session.dims
    count = dims.actions if query.kind == "action" else dims.chips
    if count:
        window.session.update(query=Query(query.kind, tuple(range(count))))


FILE, LOOK, AXES, COMPARE, COLOURS, HELP = (
    "File",
    "Look at",
    "Axes",
    "Compare",
    "Colours and picture",
    "Window and help",
)

TABLE: Final[tuple[Command, ...]] = (
    Command("open", "Open…", FILE, ("Ctrl+O",), lambda w: w.ask_file(), always),
    Command("demo", "Open the demo", FILE, (), lambda w: w.open_demo(), always),
    Command("save", "Save picture…", FILE, ("Ctrl+S",), lambda w: w.save_picture()),
    Command("export", "Export…", FILE, ("Ctrl+E",), lambda w: w.show_export()),
    Command("copy", "Copy picture", FILE, ("Ctrl+C",), lambda w: w.copy_picture()),
    Command("share", "Copy view as command", FILE, ("Ctrl+Shift+C",), lambda w: w.copy_command()),
    Command("forget", "Forget recent files", FILE, (), lambda w: w.settings.forget_files(), always),
    Command("close", "Close file", FILE, ("Ctrl+W",), lambda w: w.close_file(), with_file),
    Command("quit", "Quit", FILE, ("Ctrl+Q",), lambda w: w.close(), always),
    Command("undo", "Undo view", LOOK, ("Ctrl+Z",), lambda w: w.session.undo(), with_past),
    Command("redo", "Redo view", LOOK, ("Ctrl+Shift+Z", "Ctrl+Y"), lambda w: w.session.redo(), with_future),
    Command("next_token", "Next word or action", LOOK, ("W",), lambda w: w.walk(1)),
    Command("last_token", "Previous word or action", LOOK, ("Shift+W",), lambda w: w.walk(-1)),
    Command("swap", "Words or actions", LOOK, ("A",), lambda w: w.swap_kind()),
    Command("all", "All words or all actions together", LOOK, ("Ctrl+A",), _everything),
    Command("ranked", "Next best head in the atlas", LOOK, ("N",), lambda w: w.room.atlas.step_ranked(1)),
    Command("unranked", "Next worse-ranked head back", LOOK, ("Shift+N",), lambda w: w.room.atlas.step_ranked(-1)),
    Command("score", "Next score of the atlas", LOOK, (), _cycle("score")),
    Command("film", "Next kind of film", LOOK, ("F",), _cycle("film")),
    Command("curve", "Next axis of the curves", LOOK, (), _cycle("curve")),
    Command("lookers", "Who looks at the region?", LOOK, ("R",), lambda w: w.room.show_deck("lookers"), with_region),
    Command("actions", "Predicted actions", LOOK, (), lambda w: w.room.show_deck("flow")),
    Command("sinks", "Leave sinks out, or bring them back", LOOK, ("S",), _sinks),
    Command("escape", "Clear region, selection, focus", LOOK, ("Escape",), lambda w: w.escape(), always),
    Command("left", "Previous frame", AXES, ("Left",), _axis("frame", -1)),
    Command("right", "Next frame", AXES, ("Right",), _axis("frame", 1)),
    Command("left10", "Ten frames back", AXES, ("Shift+Left",), _axis("frame", -10)),
    Command("right10", "Ten frames on", AXES, ("Shift+Right",), _axis("frame", 10)),
    Command("home", "First frame", AXES, ("Home",), lambda w: w.session.update(frame=0)),
    Command("end", "Last frame", AXES, ("End",), _last_frame),
    Command("up", "Next layer", AXES, ("Up",), _axis("layer", 1)),
    Command("down", "Previous layer", AXES, ("Down",), _axis("layer", -1)),
    Command("step_back", "Previous denoise step", AXES, ("[",), _axis("step", -1), with_actions),
    Command("step_on", "Next denoise step", AXES, ("]",), _axis("step", 1), with_actions),
    *(Command(f"head{n}", f"Head {n - 1}", AXES, (str(n),), _head(n - 1), in_menu=False) for n in range(1, 10)),
    Command("mean", "Mean of heads", AXES, ("0",), lambda w: w.session.update(heads=(), reduce="mean")),
    Command("max", "Maximum of heads", AXES, ("M",), lambda w: w.session.update(heads=(), reduce="max")),
    Command("play", "Play or pause", AXES, ("Space",), lambda w: w.playback.toggle()),
    Command("play_frame", "Play frames", AXES, (), lambda w: w.playback.toggle("frame")),
    Command("play_layer", "Play layers", AXES, (), lambda w: w.playback.toggle("layer")),
    Command("play_step", "Play denoise steps", AXES, (), lambda w: w.playback.toggle("step"), with_actions),
    Command("follow", "Follow new frames while recording", AXES, (), lambda w: w.toggle_follow(), while_recording),
    Command("pin", "Pin this view", COMPARE, ("P",), lambda w: w.pin()),
    Command("side", "Side by side with the pin", COMPARE, ("Ctrl+B",), _switch("compare", "side", "off"), with_pin),
    Command("difference", "Difference to the pin", COMPARE, ("D",), _switch("compare", "difference", "off"), with_pin),
    Command("go_pin", "Go to the pinned view", COMPARE, (), lambda w: w.go_pin(), with_pin),
    Command("second", "Compare with another file…", COMPARE, (), lambda w: w.ask_other()),
    Command("unpin", "End comparison", COMPARE, ("Shift+P",), lambda w: w.unpin(), with_pin),
    Command("picture", "Camera’s picture or the model’s", COLOURS, ("V",), _switch("picture", "source", "model")),
    Command("smooth", "Nearest or bilinear", COLOURS, ("I",), _switch("smooth", False, True)),
    Command("grid", "Patch grid", COLOURS, ("G",), _switch("grid", True, False)),
    Command("fainter", "Fainter heat", COLOURS, ("-",), _opacity(-0.1)),
    Command("stronger", "Stronger heat", COLOURS, ("+", "=", "Shift++"), _opacity(0.1)),
    Command("colours", "Next colour map", COLOURS, ("C",), _cycle("colours")),
    Command("range", "Shared range, or one a map", COLOURS, (), _switch("range", "shared", "map")),
    Command("lock", "Lock the range, or free it", COLOURS, ("K",), lambda w: w.lock_range()),
    Command("log", "Logarithmic colours", COLOURS, ("L",), _switch("scale", "linear", "log")),
    Command("rank", "Colours by rank", COLOURS, (), _switch("scale", "linear", "rank")),
    Command("uniform", "Times uniform", COLOURS, ("U",), lambda w: w.room.heat.uniform.toggle()),
    Command("norms", "Weight × value norm", COLOURS, (), lambda w: w.room.heat.norms.toggle(), with_norms),
    Command("palette", "Command palette", HELP, ("Ctrl+P",), lambda w: w.show_palette(), always),
    Command("help", "Keys and help", HELP, ("?", "F1", "Shift+?"), lambda w: w.show_help(), always),
    Command("tour", "Show the tour", HELP, (), lambda w: w.show_tour()),
    Command("dark", "Dark theme", HELP, (), lambda w: w.set_theme("dark"), always),
    Command("light", "Light theme", HELP, (), lambda w: w.set_theme("light"), always),
    Command("system", "Theme of the system", HELP, (), lambda w: w.set_theme("system"), always),
    Command("full", "Full screen", HELP, ("F11",), lambda w: w.toggle_full(), always),
)  # fmt: skip

HELD: Final = (("H", "Hold to see the bare picture"), ("B", "Hold to blink to the pinned view"))
"""Keys that act while they are held."""

BY_ID: Final = {command.id: command for command in TABLE}
BY_KEY: Final = {key: command for command in TABLE for key in command.keys}


def matching(words: str) -> list[Command]:
    """Commands whose title holds every word typed, those that begin with it first."""
    parts = words.lower().split()
    found = [c for c in TABLE if all(part in f"{c.title} {c.section}".lower() for part in parts)]
    return sorted(found, key=lambda c: not c.title.lower().startswith(words.lower().strip()))
