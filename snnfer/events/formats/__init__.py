"""One module per file format; `detect` finds the right one by content."""
