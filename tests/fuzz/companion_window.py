"""A real window on folders of `companion_cases`: it opens what is there and goes through what shows it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import planted_run
from companion_cases import FIGURES, WORDS
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication
from window_driver import spin

from viewer import __main__ as program
from viewer.analysis import probe
from viewer.analysis.initial_view import parse_view
from viewer.controllers.effects import effects_controller
from viewer.controllers.settings import Settings
from viewer.errors import UserError
from viewer.io.results import Results
from viewer.runs.query import RunQuery
from viewer.widgets.main_window import MainWindow

WAIT_SECONDS: Final = 30.0
"""Longest time until the window has what it waits for, which ends by limits of its own."""
EFFECT_COMMANDS: Final = (
    "effect_map", "uniform", "left", "effect_side", "unpin", "gradient_map", "norms", "scatter", "film", "best", "wall",
    "swap", "effect_map", "all", "ranked", "score", "info", "escape",
)  # fmt: skip
REGION_COMMANDS: Final = (
    "regions", "next_region", "lost", "right", "lookers", "next_region", "curve", "film", "best", "swap", "max", "score",
    "score", "remove_region", "escape",
)  # fmt: skip
VIEW_COMMANDS: Final = ("left", "swap", "film", "pin", "share", "unpin", "escape")
QUESTION: Final = RunQuery(score="region", words=WORDS, region=planted_run.BOX)


class CompanionWindow:
    """A window that opens one folder after another; `note_step` is called after each step."""

    def __init__(self, kind: str, note_step: Callable[[], None]) -> None:
        self._act = {
            "effects": self._show_effects,
            "regions": self._show_regions,
            "run": self._show_run,
            "figures": self._show_figures,
        }[kind]
        self._note_step = note_step
        effects_controller.Probe = probe.ForkedProbe  # type: ignore[misc] - 0.02 s of processor time in place of 0.5
        self.app = QApplication.instance() or QApplication([])
        self.errors: list[str] = []
        sys.excepthook = self._note_error
        settings = Settings(Path(tempfile.mkdtemp()) / "settings.ini")
        settings.set_text("toured", "yes")
        self.window = MainWindow(settings)
        self.window.resize(1280, 800)
        self.window.show()
        self.messages: list[str] = []
        self.window.session.noticed.connect(self.messages.append)

    def _note_error(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        import traceback

        where = traceback.extract_tb(trace)[-1]
        self.errors.append(f"{kind.__name__}: {error} ({Path(where.filename).name} {where.lineno})")

    def __call__(self, folder: Path) -> str:
        """Return `opened` where the damaged file was shown, `refused` where not, or `uncaught` and an error."""
        self.errors.clear()
        self.messages.clear()
        try:
            is_shown = self._act(folder)
        except UserError:
            is_shown = False
        except Exception:  # as the window's own hook, which goes on
            self._note_error(*sys.exc_info())  # type: ignore[arg-type]
            is_shown = False
        self._spin()
        self.window.files.close()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # only a running event loop sends them
        failed = [message for message in self.messages if "cannot be drawn" in message or "went wrong" in message]
        if self.errors or failed:
            return f"uncaught {(self.errors + failed)[0]}"
        return "opened" if is_shown else "refused"

    def _spin(self) -> None:
        spin(0.0)
        self._note_step()

    def _wait(self, is_over: Callable[[], object], event: str) -> None:
        """Run the event loop until something has ended."""
        end = time.monotonic() + WAIT_SECONDS
        while not is_over():
            if time.monotonic() > end:
                raise TimeoutError(f"{event} did not end")
            QCoreApplication.processEvents()
            time.sleep(0.002)
        self._note_step()

    def _perform(self, *names: str) -> None:
        for name in names:
            self.window.perform_id(name)
            self._spin()
        self.window.grab()
        self._spin()

    def _show_effects(self, folder: Path) -> bool:
        effects, session = self.window.files.effects, self.window.session
        results = Results(folder / "a.h5")
        self.window.show_results(results, False)
        spin(0.02)
        self._wait(lambda: not effects.is_busy and self._has_rested(), "opening the effects")
        if not results.effects:
            return False
        for frame in range(2):
            session.update(frame=frame, layer=frame)
            self._perform(*EFFECT_COMMANDS)
        return True

    def _has_rested(self) -> bool:
        """Whether the worker has answered what it was asked."""
        pool = self.window.worker._pool
        return pool is None or pool.submit(lambda: True).result(WAIT_SECONDS)

    def _show_regions(self, folder: Path) -> bool:
        regions, session = self.window.regions, self.window.session
        self.window.show_results(Results(folder / "a.h5"), False)
        self._wait(
            lambda: session.regions is not None or regions.problem or not regions.path.exists(), "reading regions"
        )
        if session.regions is None:
            return False
        for frame in range(4):
            session.update(frame=frame, layer=frame % 2)
            self._perform(*REGION_COMMANDS)
        self._wait(lambda: not regions.process.is_running, "changing the regions")
        return True

    def _show_run(self, folder: Path) -> bool:
        window = self.window
        window.open(folder / "run")
        self._wait(lambda: not window.files.opening.busy, "opening the run")
        self._spin()
        if window.runs.page is None or not window.runs.is_page_shown:
            self._perform("run")
        page = window.runs.page
        assert page is not None
        controller = page.controller
        if controller.run is None:
            return False
        controller.ask(QUESTION)
        self._wait(self._has_answered, "the answer")
        controller.compare_outcomes(True)
        self._wait(self._has_answered, "the comparison")
        self._perform("share", "undo", "redo")
        self._wait(self._has_answered, "the answer")
        if controller.stage.kind == "failed":  # what its button does
            controller.build_again()
            self._wait(self._has_answered, "making it anew")
        is_shown = controller.stage.kind == "ready"
        if is_shown:
            controller.point((0, 0))
            controller.choose_cell(1, 0)
            self._wait(self._has_answered, "the answer for a head")
            self._perform("copy", "run", "next_episode", "run")
        return is_shown

    def _has_answered(self) -> bool:
        page = self.window.runs.page
        assert page is not None
        controller = page.controller
        return (
            not controller.build.is_running
            and not controller.worker._requests
            and controller.stage.kind not in {"no run", "building"}
        )

    def _show_figures(self, folder: Path) -> bool:
        shown = False
        for form in FIGURES:
            try:
                text = program._view_text(str(folder / f"figure.{form}"))
                view, run_view = parse_view(text), program._run_view(text)
            except UserError:
                continue
            self.window.open(folder / "a.h5", view)
            self._wait(lambda: not self.window.files.opening.busy, "opening the file")
            if run_view is not None:
                self.window.runs.show_view(run_view)
                self._perform("run")
            self._perform(*VIEW_COMMANDS)
            shown = True
        return shown
