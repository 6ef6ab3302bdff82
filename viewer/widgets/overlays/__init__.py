"""OverlayHost, pages and notices that lie over the window."""
