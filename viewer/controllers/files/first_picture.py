"""Opens a file into the session once its first picture is in memory: at once, or for a slow file after a read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewer.controllers.reading.view_plan import touch_first_picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState


class FirstPicture:
    """At most one slow file whose first picture is being read; a newer file replaces it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending: Results | None = None

    def show(
        self, results: Results, second: bool, find_view: Callable[[Results], ViewState], show: Callable[[], None]
    ) -> None:
        """Call `show` once what it shows is in memory.

        Args:
            results: The file; one whose picture is still being read is closed when another takes its place.
            second: Whether it is the second file of a comparison.
            find_view: Returns the view that a first file is opened with.
            show: Opens the file into the session.
        """
        self.drop()
        if not results.access.is_slow:
            show()
            return
        results.access.forbid_waiting()
        self._pending = results
        session = self._session

        def act() -> None:
            compared = (session.results, session.state) if second and session.results is not None else None
            touch_first_picture(results, session.state if compared else find_view(results), compared)
            self._pending = None
            show()

        session.reader.attempt("file", act, lane="view")

    def drop(self) -> None:
        """Give up the file whose first picture is being read."""
        self._session.reader.drop("file")
        if self._pending is not None:
            self._pending.close()
        self._pending = None
