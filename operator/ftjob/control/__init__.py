"""The operator in the cluster: watches, cache, queue, reconcile and its effects."""
