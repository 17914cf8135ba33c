"""What a rank and its agent measure while a training runs: how long its steps take, and where."""
