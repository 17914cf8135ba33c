"""What a shell may complete at TAB. It has to be quick: nothing of the client is imported."""
