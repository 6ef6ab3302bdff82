"""Planning of results files: options, frames, prompts, sizes and decisions, before weights or pictures are read."""
