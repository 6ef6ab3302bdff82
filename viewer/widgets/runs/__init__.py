"""The Run page: answers over all frames and episodes of a run."""
