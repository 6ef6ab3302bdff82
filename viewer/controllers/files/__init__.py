"""Opening, probing, watching and replacing a results file."""
