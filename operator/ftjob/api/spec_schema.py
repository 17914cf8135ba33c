"""The schema of a spec: that of its model, and what the strategies add to it."""

from __future__ import annotations

from ftjob.models.schema import Schema, structural
from ftjob.models.spec import JobSpec
from ftjob.strategies import STRATEGIES


def spec_schema() -> Schema:
    """Return the structural schema of a spec, which knows the names of the strategies."""
    schema = structural(JobSpec)
    fields = schema["properties"]
    fields["strategy"] = {
        "description": fields["strategy"]["description"],
        "enum": list(STRATEGIES),
        "type": "string",
    }
    with_roles = ", ".join(s.name for s in STRATEGIES.values() if s.roles)
    elastic = ", ".join(s.name for s in STRATEGIES.values() if s.elastic)
    for name, whose in (("roles", f"{with_roles} only"), ("elastic", elastic)):
        fields[name]["description"] = f"{fields[name]['description'].removesuffix('.')} ({whose})."
    return schema
