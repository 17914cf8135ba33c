"""What the ranks of a job do at present: their steps, and what these use."""
