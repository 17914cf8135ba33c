"""What the operator tells people: Events, metrics, and how often it writes status."""
