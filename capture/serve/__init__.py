"""A policy server for openpi's clients that records its calls."""
