"""Named regions as they are drawn: outlines over pictures, lanes under timelines."""
