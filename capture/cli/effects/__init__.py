"""`pi0-capture effects`: measure how much the actions of results files change under interventions."""
