"""What all kinds have in common: metadata, pod templates, roles, and how a job is queued and ends."""
