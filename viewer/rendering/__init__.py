"""Colors, heat maps and camera pictures, drawn alike in the window and in figures; no widgets."""
