"""Shows the attention stored in a results file as a desktop program."""
