"""How the operator learns of changes: kopf's watches, full lists, and the cache that they feed."""
