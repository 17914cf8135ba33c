"""Measuring how long a rank's steps take, of what, and at which lines, by the rank's own clock."""
