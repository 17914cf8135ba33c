"""The star of agents: the leader in its centre, which keeps the book, and the others, which report to it."""
