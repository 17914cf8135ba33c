"""What a spec may not say. Each rule stands here once, for the CRD and for ``ftjob validate``."""
