"""Policies of other code bases, recorded while they act: what they are fed and what they answer, as our own calls."""
