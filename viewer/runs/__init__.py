"""Answers over all episodes of a run: what is asked, its summary on the disk, statistics over episodes. No Qt."""
