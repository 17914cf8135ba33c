"""What the steps of this agent's ranks take: from their clocks to blocks for the leader and the outputs."""
