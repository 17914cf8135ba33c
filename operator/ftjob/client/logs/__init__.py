"""What the ranks of a job in a cluster write: each line once, over cuts, restarts and new pods."""
