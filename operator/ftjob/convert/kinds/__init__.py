"""One file for each kind of job that is converted."""
