"""Reports of jobs in a cluster: short-lived pods write them into the outputs."""
