"""Reading of results files and run indexes, which may be damaged, foreign or harmful."""
