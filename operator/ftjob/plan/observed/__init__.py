"""What is seen of a job in the cluster, as frozen data; and how it is read from raw objects."""
