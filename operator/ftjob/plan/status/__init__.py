"""The status that follows from a plan."""
