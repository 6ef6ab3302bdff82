"""Sheets, pages and notices over the window."""
