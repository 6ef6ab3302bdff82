"""Measured effects of what a policy attends to: edges cut, pictures covered, heads silenced, each against controls."""
