"""Buttons, choices and sliders in the window's style."""
