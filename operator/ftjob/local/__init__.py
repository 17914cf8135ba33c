"""The same plan as processes on this machine."""
