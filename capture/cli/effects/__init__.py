"""`pi0-capture effects`: measure what changes in the actions of results files when something is taken away."""
