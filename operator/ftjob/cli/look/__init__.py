"""What is wrong with a job, or with a cluster for jobs."""
