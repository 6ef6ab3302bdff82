"""Effects files of the open file, and effects of a region that are measured on demand."""
