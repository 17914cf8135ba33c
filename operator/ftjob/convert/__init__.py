"""Jobs of other operators as ours. Pure: an object in, an object and notes out, or a refusal."""
