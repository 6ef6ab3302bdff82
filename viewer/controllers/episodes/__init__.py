"""The episodes of a run: the list, their summaries, and reading ahead."""
