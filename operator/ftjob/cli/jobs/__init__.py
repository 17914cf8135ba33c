"""Verbs for jobs in a cluster. Each is a few lines over `ftjob.client`."""
