"""What the first picture of a view needs from a file, and what its neighbours will need. No Qt.

The first picture is the heat map over the model's pictures, with the words and the caption. The camera's own pictures,
strips, atlas and film follow.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from capture.results import schema
from viewer.analysis import caption, scene
from viewer.analysis.carried_query import align_view, carry_to_frame
from viewer.errors import READ_ERRORS, NotLoadedError
from viewer.io import view_bytes

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.view_state import ViewState


def read_view(results: Results, view: ViewState, prompt_frame: int | None = None) -> None:
    """Read what the first picture of a view needs into the file's cache; waits. Read errors are those of `touch`.

    `prompt_frame`: the frame whose words the view's query counts; None for its own.
    """
    with contextlib.suppress(*READ_ERRORS):
        view_bytes.fetch_words(results, view.frame)
        if prompt_frame is not None:
            view_bytes.fetch_words(results, prompt_frame)
            view = carry_to_frame(view, results, prompt_frame)
        tokens = scene.find_query_tokens(results, view.frame, view.query)
        view_bytes.fetch_view(results, view.frame, view.query.kind, tokens, "model", view.layer, view.step)
    touch_view(results, view)


def touch_view(results: Results, view: ViewState) -> None:
    """Ask for everything that the first picture of a view needs; read errors are left to the caller that shows it.

    NotLoadedError where a part is not in memory and this thread must not wait.
    """
    if not results.done:
        return
    for part in (read_words, _touch_pictures, scene.compose):
        with contextlib.suppress(*READ_ERRORS):
            part(results, view)


def read_words(results: Results, view: ViewState) -> None:
    """Read the words of a frame, the caption and which groups of keys are left out, into the file's cache."""
    results.dims(view.frame)
    scene.group_matrix(results, view.frame)
    caption.caption(results, view)
    for name in (schema.FRAMES_EPISODE, schema.FRAMES_PROMPT):
        results.string(name, view.frame)


def _touch_pictures(results: Results, view: ViewState) -> None:
    for camera in range(len(results.cameras)):
        results.picture_size(camera)
        results.picture(view.frame, camera, "model")


def touch_first_picture(results: Results, view: ViewState, compared: tuple[Results, ViewState] | None = None) -> None:
    """Ask for everything that the first picture of a file needs, as `touch_view` does, before it is the open one.

    `compared`: the open file and its view, of which the second file `results` shows the counterpart.
    """
    if compared is not None:
        view = align_view(compared[1], compared[0], results) or view
    frame = min(max(view.frame, 0), max(results.done - 1, 0))
    view = replace(view, frame=frame, pinned=None).clamped(results.dims(frame))
    try:
        touch_view(results, view)
    except NotLoadedError as error:
        read = error.read

        def read_all() -> None:
            read_view(results, view)
            read()

        raise NotLoadedError(read_all) from error


def touch(session: Session) -> None:
    """Ask for everything that the first picture of a session's views needs, as `touch_view` does."""
    if session.results is None:
        return
    touch_view(session.results, session.shown)
    if session.current is not session.shown:
        touch_view(session.results, session.current)
    pin = session.pin
    if pin is not None:
        touch_view(*pin)
    session.scene()  # made once, and kept for the panels
