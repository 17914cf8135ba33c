"""What the frameworks' profilers have written, one rank at a time."""
