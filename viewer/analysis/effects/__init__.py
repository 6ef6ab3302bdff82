"""Measured effects: maps and sentences, scores of heads, and heads against what they look at. No Qt."""
