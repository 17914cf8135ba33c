"""Known ways in which training dies, or does not start: what is behind them, and what to do about it."""
