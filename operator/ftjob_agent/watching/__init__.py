"""What is seen of ranks that run: how far they are, what they use, and where they are stuck."""
