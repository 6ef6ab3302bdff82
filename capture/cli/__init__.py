"""The command line of pi0-capture: options, checks of options, progress, reports."""
