"""Policies and what is read out of them while they run."""
