"""Results files and run indexes, read without trust."""
