"""Captures: when they are due, by schedule or by order, and how each framework's profiler is worked."""
