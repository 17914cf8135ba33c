"""Everything that the operator knows of its jobs, as little of each object as decisions need."""
