"""The status that follows from a decision."""
