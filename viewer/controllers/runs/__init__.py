"""What the Run page asks of a run's tables, in the background."""
