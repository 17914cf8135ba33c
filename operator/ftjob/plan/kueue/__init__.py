"""Kueue: when a job may run, what its Workload asks for, and what Kueue is told."""
