"""How agents and operator know each other: by signatures with the job's token, which is never sent."""
