"""Where regions with names come from, for the scores that a capture stores."""
