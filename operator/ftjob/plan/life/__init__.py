"""A job's life: how attempts start, fail, follow each other and end."""
