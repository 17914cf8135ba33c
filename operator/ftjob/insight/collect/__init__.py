"""From the raw files of a job to its summary."""
