"""Command line and start of pi0-viewer."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from viewer import startup
from viewer.errors import NotLoadedError, UserError
from viewer.file_argument import file_location
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from capture.remote.address import Location
    from viewer.analysis.probe import Probe
    from viewer.io.run_index import Run
    from viewer.runs.run_view import RunView
    from viewer.widgets.main_window import MainWindow

HELP = (
    "results file (.h5), a second one is compared with the first; or the folder of a run, or its index.json; "
    "also on another machine: ssh://user@host/path, https://…, s3://…, hf://datasets/…"
)
log = logging.getLogger("viewer")


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command-line options."""
    from capture import __version__  # costs nothing: the schema is imported from this package anyway

    parser = argparse.ArgumentParser(
        "pi0-viewer",
        description="Look at the attention that pi0-capture recorded.",
        epilog="Frames, actions, layers, heads and denoise steps carry their numbers in the file, from 0.",
    )
    parser.add_argument("file", nargs="*", type=file_location, help=HELP)
    parser.add_argument("--version", action="version", version=f"pi0-viewer {__version__}")
    parser.add_argument("--demo", action="store_true", help="open the bundled demo")
    parser.add_argument("--demo-run", action="store_true", help="open 20 episodes of the bundled policy, half of them "
                        "failures; the first time pi0-capture makes them, in the user’s cache")  # fmt: skip
    parser.add_argument("--view", metavar="VIEW", help="the view to start with: JSON from “Copy view as command”, or a "
                      "figure (PNG, JPG, PDF, SVG) that pi0-export wrote")  # fmt: skip
    parser.add_argument("--theme", choices=("dark", "light", "system"), help="colours of the window; remembered")
    parser.add_argument("--settings", type=Path, metavar="INI", help="keep settings in this file instead of the user’s")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the viewer; return the exit code: 0, or 2 for a mistake in the command line or a missing screen or Qt.

    To start fast, the file is checked in another process while Qt is loaded. `arguments` defaults to `sys.argv[1:]`.
    """
    gc.disable()  # until the first picture is shown, as no garbage arises before; `startup.finish_startup` enables it
    startup.limit_threads()
    options = create_parser().parse_args(arguments)
    with startup.preload_qt():
        from viewer.analysis.initial_view import parse_view

        try:
            text = _view_text(options.view) if options.view else ""
            view = parse_view(text) if text else None
            run_view = _run_view(text)
            _check(options)
            _add_second(options, text)
        except UserError as error:
            print(clean_text(str(error)), file=sys.stderr)
            return 2
        import viewer.io.results  # noqa: F401 - numpy and h5py
    failure, run, probe = "", None, None
    try:
        run = _run(options)
        probe = _first_probe(options, run)
    except UserError as error:
        failure = str(error)
    try:
        from PySide6.QtWidgets import QApplication
    except ImportError as error:
        if probe is not None:
            probe.stop()
        print(f"pi0-viewer: {_without_qt(error)}", file=sys.stderr)
        return 2
    if _lacks_display():
        if probe is not None:
            probe.stop()
        print("pi0-viewer: there is no screen here (DISPLAY is not set); run it where your screen is.", file=sys.stderr)
        return 2
    startup.bypass_import_hook()
    from viewer.rendering import theme
    from viewer.widgets.main_window import MainWindow

    app = QApplication([*sys.argv[:1], "-style", theme.FUSION])
    app.setProperty(theme.FUSION, True)
    window = prepared(options)
    assert isinstance(window, MainWindow)
    if failure:
        window.files.show_failure(failure, "")
    elif run is not None:
        window.files.show_run(run, view, probe)
        window.files.opening.wait()
    elif probe is not None:
        window.open(probe.path, view, lambda: window.files.opening.take(probe))
        window.files.compare_with(options.file[1] if len(options.file) > 1 else None)
        window.files.opening.wait()
    elif options.demo:
        window.files.demos.open_file()
    elif options.demo_run:
        window.files.demos.open_run()
    elif options.file:  # a run on another machine
        window.open(options.file[0], view)
    if run_view is not None:
        window.runs.show_view(run_view)
    window.show()
    return app.exec()


def _without_qt(error: ImportError) -> str:
    """Return what to do if Qt is not installed, or if it lacks a system library, which `error` then names."""
    if isinstance(error, ModuleNotFoundError):
        return f'the viewer extra is not installed ({error}): pip install "pi0-attention[viewer]"'
    return f"Qt cannot be loaded ({error}); the README names the system packages that it needs."


def _view_text(text: str) -> str:
    """Return the JSON of a view: `text` itself, or read from the metadata of the figure at that path."""
    if text.lstrip().startswith("{"):
        return text
    from viewer.export.metadata import read_view_json

    return read_view_json(text)


def _run_view(text: str) -> RunView | None:
    """Return what the JSON of a view shows of a run; None where it shows an episode."""
    if '"run"' not in text:  # what reads it is not needed otherwise
        return None
    from viewer.runs.run_view import parse_run_view

    return parse_run_view(text)


def _add_second(options: argparse.Namespace, view: str) -> None:
    """Add the second file to `options.file` if the view compares two files.

    Raises:
        UserError: The second file was not found.
    """
    if not view or len(options.file) != 1:
        return
    from viewer.export.metadata import find_second_file, read_second_file
    from viewer.io.open_file import find, is_run

    way, first = read_second_file(view), options.file[0]
    if way and not is_run(first):
        options.file.append(find_second_file(find(first), way, f"name it after {first.name} in the command"))


def _lacks_display() -> bool:
    """Return whether Qt would abort: on Linux with neither X nor Wayland, unless QT_QPA_PLATFORM is set."""
    named = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return sys.platform.startswith("linux") and not any(os.environ.get(name) for name in named)


def _check(options: argparse.Namespace) -> None:
    """Check that the given files can be opened together.

    Raises:
        UserError: They cannot.
    """
    from viewer.io.open_file import is_run

    if options.demo and options.file:
        raise UserError("--demo opens the bundled demo; leave it out to open a file, or leave the file out.")
    if options.demo_run and (options.demo or options.file):
        raise UserError("--demo-run opens the bundled policy’s run; leave out either this or the other.")
    if len(options.file) > 2:
        raise UserError("pi0-viewer opens one file, two to compare, or the folder of a run; leave the others out.")
    runs = [path for path in options.file if is_run(path)]
    if runs and len(options.file) > 1:
        raise UserError(f"{runs[0]} is a run over several episodes, which is opened by itself; leave the others out.")


def _run(options: argparse.Namespace) -> Run | None:
    """Return the run to open; None for a single file, also the only one in a folder, which is put into `options`."""
    from viewer.io.open_file import is_run

    if options.demo_run:
        _add_demo_run(options)
    if not options.file or not is_run(options.file[0]) or not isinstance(options.file[0], Path):
        return None  # a run on another machine is read when the window is shown
    from viewer.io import run_index

    run = run_index.read_run(options.file[0])
    if run.index is None and len(run.episodes) == 1:  # a folder with one file is that file
        options.file = [run_index.find_episode_path(run, run.episodes[0])]
        return None
    return run


def _first_probe(options: argparse.Namespace, run: Run | None) -> Probe | None:
    """Start checking the file in another process before Qt is loaded; None if there is no file."""
    if run is not None:
        return _probe_first_episode(run)
    path = options.file[0] if options.file else None
    if _is_remote_run(path):
        return None
    if path is None and options.demo:
        path = _find_demo()
    if path is None:
        return None
    from viewer.analysis.probe import create_early_probe
    from viewer.io.open_file import find

    return create_early_probe(find(path))


def _is_remote_run(path: Location | None) -> bool:
    from viewer.io.open_file import is_run

    return path is not None and not isinstance(path, Path) and is_run(path)


def _probe_first_episode(run: Run) -> Probe | None:
    """Start checking the first episode of a run; None if there is none yet."""
    from viewer.analysis import probe
    from viewer.io import run_index

    statuses = run_index.statuses(run)
    number = run_index.first(run_index.listed(run, statuses), statuses)
    try:
        return (
            None if number is None else probe.create_early_probe(run_index.find_episode_path(run, run.episodes[number]))
        )
    except UserError:
        return None  # deleted meanwhile; the window reports it


def _find_demo() -> Path | None:
    from viewer.io.demo_files import find_demo_path

    return find_demo_path()


def _add_demo_run(options: argparse.Namespace) -> None:
    """Put the demo's run into `options.file`, if it has been captured."""
    from viewer.io.demo_files import find_demo_run_folder, is_demo_run_captured

    folder = find_demo_run_folder()
    if folder is not None and is_demo_run_captured():
        options.file = [folder]


def prepared(options: argparse.Namespace) -> MainWindow:
    """Return the main window with settings, theme, icon and handling of uncaught errors."""
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    from viewer.controllers.settings import Settings
    from viewer.rendering import theme
    from viewer.widgets.main_window import MainWindow

    QApplication.setApplicationName("pi0-viewer")
    QApplication.setDesktopFileName("pi0-viewer")
    settings = Settings(options.settings)
    if options.theme:
        settings.set_text("theme", options.theme)
    theme.apply(settings.text("theme", "system"))
    window = MainWindow(settings)
    QTimer.singleShot(300, window, window.set_icon)  # after the first picture
    QTimer.singleShot(450, theme.style_tooltips)
    QTimer.singleShot(600, startup.finish_startup)
    catch_errors(window)
    return window


def log_path() -> Path:
    """Return the path of the log file."""
    from PySide6.QtCore import QStandardPaths

    folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.AppLocalDataLocation)
    return Path(folder or ".") / "viewer.log"


def catch_errors(window: MainWindow) -> None:
    """Set `sys.excepthook` so that errors in slots and paint events are logged and shown as a notice.

    The window stays open.
    """
    handler: logging.Handler = logging.StreamHandler()
    path = log_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    except OSError:
        pass
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    shown: set[str] = set()

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            os._exit(130)
        if issubclass(kind, NotLoadedError):  # nothing is wrong: it is shown once it is read
            return
        log.error("An error in the window", exc_info=(kind, error, trace))
        sentence = (
            str(error)
            if isinstance(error, UserError)
            else f"Something went wrong ({kind.__name__}: {error}); details are in {path}."
        )
        if sentence not in shown:  # show a repeated error, as of painting, only once
            shown.add(sentence)
            window.notice.show_message(sentence)

    sys.excepthook = hook


if __name__ == "__main__":
    sys.exit(main())
