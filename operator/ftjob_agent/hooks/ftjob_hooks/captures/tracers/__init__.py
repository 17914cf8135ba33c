"""What each framework does for a capture."""
