"""Runs a policy over episodes: plan, read, call, collect, write."""
