"""Figures, sheets, video, tables and arrays out of a results file, without a window."""
