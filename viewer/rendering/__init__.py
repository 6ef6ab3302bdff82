"""Painting of colours, heat maps and camera pictures, shared by the window and exported figures; no widgets."""
