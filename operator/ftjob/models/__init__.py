"""The job as data: models of its spec and status, and the plain values that all else is said in."""
