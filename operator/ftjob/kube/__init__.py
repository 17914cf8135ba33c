"""The port to the API server: raw dicts, one Protocol, one adapter."""
