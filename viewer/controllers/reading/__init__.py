"""Reading for the window from files that may be slow: in other threads, in the order in which a person needs it."""
