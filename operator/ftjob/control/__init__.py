"""Effects in the cluster: watches, queue, reconcile, leader."""
