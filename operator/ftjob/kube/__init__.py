"""The client of the API server: raw dicts in and out, one Protocol, one class that speaks HTTP."""
