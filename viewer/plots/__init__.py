"""Plots drawn through pyqtgraph, which only this package imports.

The first picture is painted without pyqtgraph, whose import takes as long as all of Qt's. `loading.import_pyqtgraph` is
run after it, in pieces. Then every panel of the window builds its plot (`Panel.build_plot`), and imports a
module of this package inside that method, never at the top of its own module.

How to write a plot:

* A plot is a `view.PlotView` whose parent is the panel. Keys, mouse, tooltips and the context menu are the panel's.
* Items hold no state of the application: they draw what the panel read from the snapshot, and report what the user does
  through a callback or signal, which the panel turns into `session.update`.
* One item a plot (an image of all tiles, one item for all lines), not one a tile or line: 360 images cost 51 ms.
* Set a range only when it changes, rounded: a `setRange` with every change makes the change 1.7 times as expensive.
* Keep references to the panel weak (`weakref.WeakMethod`, bound methods in signal connections, no lambda with `self`).
"""
