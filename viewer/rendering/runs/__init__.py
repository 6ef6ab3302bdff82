"""Painting of the Run page, in the window and in figures alike."""
