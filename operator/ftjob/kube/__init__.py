"""The port to the API server: raw dicts in and out, one Protocol, one adapter."""
