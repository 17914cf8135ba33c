"""What Horovod's ranks need to find each other: a child of the leader's agent, and the programs it runs."""
