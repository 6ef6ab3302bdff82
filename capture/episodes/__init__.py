"""Where observations come from: one reader a file."""
