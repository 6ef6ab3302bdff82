"""The named regions in the window: their list, and lanes on the timeline."""
