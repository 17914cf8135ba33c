"""Values that somebody else has written: read strictly, bounded, and fit to be shown."""
