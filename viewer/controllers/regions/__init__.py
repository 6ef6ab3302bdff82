"""Named regions of the open file: read, chosen, tracked, changed and undone."""
