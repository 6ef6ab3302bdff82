"""One part of the window a file; panels know the session and nothing of each other."""
