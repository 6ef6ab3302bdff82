"""Panel with the episodes of a run: a filter, the list with outcomes, and a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QEvent, QModelIndex, QObject, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QTreeView, QVBoxLayout, QWidget

from viewer.model.number_ranges import format_place
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button
from viewer.widgets.panels.episodes.episode_model import NUMBER, EpisodeDelegate, EpisodeModel, outcomes

if TYPE_CHECKING:
    from viewer.controllers.episodes.episodes import Episodes

WIDTH: Final = 248
MAX_UNFOLDED: Final = 300
"""Up to this number of listed episodes all prompts are expanded."""


class EpisodeTree(QTreeView):
    """List of episodes: arrow keys move, Enter or a click opens; other keys go to the window."""

    def __init__(self, model: EpisodeModel) -> None:
        super().__init__()
        self.setModel(model)
        self.setItemDelegate(EpisodeDelegate(model, self))
        self.setAccessibleName("Episodes")
        self.setHeaderHidden(True)
        self.setIndentation(0)
        self.setUniformRowHeights(True)
        self.setMouseTracking(True)
        self.setExpandsOnDoubleClick(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QTreeView.ScrollMode.ScrollPerPixel)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.restyle()

    def restyle(self) -> None:
        """Apply the theme's colours."""
        self.setStyleSheet(theme.sheet() + "QTreeView { background: transparent; border: none; outline: none; }")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        walking = {Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Left, Qt.Key.Key_Right}
        if key in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.activated.emit(self.currentIndex())
        elif key in walking and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            super().keyPressEvent(event)
        else:
            event.ignore()


class EpisodePanel(QWidget):
    """Shown while a run is open."""

    chosen = Signal()
    """The user has chosen an episode, which may be the open one."""

    def __init__(self, episodes: Episodes, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.episodes = episodes
        self.setAccessibleName("Episodes of the run")
        self.setMinimumWidth(190)
        self.setMaximumWidth(420)
        self.before, self.after = Button("‹", kind="quiet"), Button("›", kind="quiet")
        for button, name, key in (
            (self.before, "Previous episode", "Page Up"),
            (self.after, "Next episode", "Page Down"),
        ):
            button.setAccessibleName(name)
            button.setToolTip(f"{name} ({key})")
            button.setFixedSize(24, 22)
        self.field = QLineEdit()
        self.field.setPlaceholderText("Filter by name, prompt, success")
        self.field.setAccessibleName("Filter episodes")
        self.field.setClearButtonEnabled(True)
        self.field.setFixedHeight(28)
        self.field.setFont(theme.font(12))
        self.field.installEventFilter(self)
        self.model = EpisodeModel(episodes, self)
        self.tree = EpisodeTree(self.model)
        title = QHBoxLayout()
        title.setContentsMargins(0, 0, 10, 0)
        title.setSpacing(0)
        title.addStretch(1)
        title.addWidget(self.before)
        title.addWidget(self.after)
        search = QHBoxLayout()
        search.setContentsMargins(theme.MARGIN, 0, 14, 0)
        search.addWidget(self.field)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 10, 1, 8)
        column.setSpacing(8)
        column.addLayout(title)
        column.addLayout(search)
        column.addWidget(self.tree, 1)
        column.addSpacing(20)
        self.before.clicked.connect(self._step_back)
        self.after.clicked.connect(self._step_forward)
        self.field.textEdited.connect(self._on_filter_changed)
        self.field.textChanged.connect(self._on_filter_edited)
        self.tree.clicked.connect(self._on_clicked)
        self.tree.activated.connect(self._open_episode)
        episodes.listed.connect(self._on_listed)
        episodes.moved.connect(self._on_moved)
        episodes.marked.connect(self._on_marked)
        self.restyle()
        self._unfold()
        self._on_moved()

    def sizeHint(self) -> QSize:
        return QSize(WIDTH, 400)

    def restyle(self) -> None:
        """Apply the theme's colours."""
        self.field.setStyleSheet(theme.sheet())
        self.tree.restyle()

    # List

    def _on_filter_changed(self, words: str) -> None:
        self.episodes.narrow(words)

    def _on_filter_edited(self, words: str) -> None:
        if not words:  # also by the clear button
            self.episodes.narrow("")

    def _on_listed(self) -> None:
        self.model.reset()
        self._unfold()
        self._on_moved()
        self.update()

    def _unfold(self) -> None:
        """Expand all prompts of a short list; of a long filtered one that of the first episode that was found."""
        if self.model.flat or not self.episodes.order:
            return
        if len(self.episodes.order) <= MAX_UNFOLDED:
            self.tree.expandAll()
        elif self.episodes.words:
            first = self.model.index_of(self.episodes.order[0])
            self.tree.setExpanded(first.parent(), True)
            self.tree.scrollTo(first)

    def _on_marked(self, _: object) -> None:
        self.update()

    def _on_moved(self) -> None:
        """Scroll to the row of the open episode."""
        self.tree.viewport().update()
        self.update()
        if self.episodes.current is None:
            return
        index = self.model.index_of(self.episodes.current)
        if index.isValid():
            if index.parent().isValid():
                self.tree.setExpanded(index.parent(), True)
            self.tree.setCurrentIndex(index)
            self.tree.scrollTo(index)

    # Mouse and keyboard

    def _on_clicked(self, index: QModelIndex) -> None:
        self._open_episode(index)

    def _open_episode(self, index: QModelIndex) -> None:
        number = index.data(NUMBER)
        if number is not None:
            self._go(number)
        elif index.isValid():
            self.tree.setExpanded(index, not self.tree.isExpanded(index))

    def _go(self, number: int) -> None:
        self.chosen.emit()
        self.episodes.go(number)

    def _step(self, by: int) -> None:
        self.chosen.emit()
        self.episodes.step(by)

    def _step_back(self) -> None:
        self._step(-1)

    def _step_forward(self) -> None:
        self._step(1)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.field and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            return self._handle_filter_key(Qt.Key(event.key()))
        return False

    def _handle_filter_key(self, key: Qt.Key) -> bool:
        """Handle a key of the filter: Enter opens the first episode, Down goes to the list, Escape clears."""
        if key in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            if self.episodes.order:
                self._go(self.episodes.order[0])
        elif key == Qt.Key.Key_Down:
            self.tree.setFocus()
            if not self.tree.currentIndex().isValid():
                self.tree.setCurrentIndex(self.model.index(0, 0))
        elif key == Qt.Key.Key_Escape:
            if self.field.text():
                self.field.clear()
            else:
                self.window().setFocus()
        elif key in {Qt.Key.Key_PageUp, Qt.Key.Key_PageDown}:
            self._step(-1 if key == Qt.Key.Key_PageUp else 1)
        else:
            return False
        return True

    # Painting

    def summary(self) -> str:
        """Return the line under the list: number of episodes and outcomes."""
        episodes = self.episodes
        order = episodes.order
        done = sum(episodes.status(number).state == "done" for number in order)
        parts = []
        if episodes.words:
            parts.append(f"{len(order)} of {len(episodes.run.episodes)} listed")
        elif done < len(order):
            parts.append(f"{done} of {len(order)} done")
        judged = outcomes(episodes, order)
        if judged:
            parts.append(judged)
        return " · ".join(parts) or episodes.run.source

    def place(self) -> str:
        """Return the number of the open episode in the run, which counts from 0; how many are listed without one."""
        current, numbers = self.episodes.current, range(len(self.episodes.run.episodes))
        return str(len(self.episodes.order)) if current is None else format_place(current, numbers)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter = theme.active(), QPainter(self)
        painter.fillRect(self.rect(), theme.color(colors.side))
        painter.fillRect(self.width() - 1, 0, 1, self.height(), theme.color(colors.line))
        box = QRectF(theme.MARGIN, 10, self.before.x() - theme.MARGIN - 6, 22)
        used = drawing.write(painter, box, "Episodes", colors.text, 12, bold=True)
        order, place = self.episodes.order, self.place()
        drawing.write(painter, box.adjusted(used + 8, 0, 0, 0), place, colors.secondary, 12)
        foot = QRectF(theme.MARGIN, self.height() - 26, self.width() - 2 * theme.MARGIN, 20)
        drawing.write(painter, foot, self.summary(), colors.secondary, 12)
        if not order:
            words = "No episode matches." if self.episodes.words else "The run names no episode."
            drawing.write(
                painter, QRectF(theme.MARGIN, 84, self.width() - 2 * theme.MARGIN, 20), words, colors.secondary, 12
            )
