"""Panel with the episodes of a run."""
