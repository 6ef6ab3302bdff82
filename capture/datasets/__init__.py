"""Readers of episodes: one module a source."""
