"""Resolve the arguments of an export against the open file."""
