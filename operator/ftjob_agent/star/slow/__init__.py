"""The leader's side of a slow job: it keeps what the ranks' steps took, and says why the job is slow."""
