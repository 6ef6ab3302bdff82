"""Panels of measured effects: of the region, and of the heads."""
