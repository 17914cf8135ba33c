"""What the outputs of a job say about its speed: the collector, its summary and its report."""
