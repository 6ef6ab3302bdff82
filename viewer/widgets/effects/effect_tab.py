"""The tab of measured effects: that of the region at the left, those of the heads at the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QHBoxLayout, QWidget

from viewer.widgets.effects.head_scatter import HeadScatter
from viewer.widgets.effects.region_effect import RegionEffect

if TYPE_CHECKING:
    from viewer.controllers.effects.effects_controller import EffectsController
    from viewer.controllers.session import Session

GAP: Final = 24


class EffectTab(QWidget):
    """Both panels of effects beside each other."""

    def __init__(self, session: Session, effects: EffectsController, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.region = RegionEffect(session, effects)
        self.scatter = HeadScatter(session)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GAP)
        row.addWidget(self.region, 3)
        row.addWidget(self.scatter, 2)

    def sizeHint(self) -> QSize:
        return QSize(600, 190)

    def minimumSizeHint(self) -> QSize:
        return QSize(300, 150)
