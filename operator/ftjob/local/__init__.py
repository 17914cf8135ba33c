"""The plan of a job as processes of this machine: agents instead of pods."""
