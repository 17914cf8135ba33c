"""The operator as a process: its Lease, health, logs, clock and key."""
