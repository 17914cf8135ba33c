"""One module per strategy, all the same small protocol."""
