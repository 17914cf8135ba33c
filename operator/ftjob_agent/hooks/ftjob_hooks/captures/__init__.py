"""Scheduled captures: when they are due, and how each framework's profiler is worked."""
