"""The results file: layout, writing, resuming, and the index of a run."""
