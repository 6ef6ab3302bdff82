"""Figures: page layout, camera pictures, charts and films."""
