"""Tables over all episodes of a run. No Qt."""
