"""What the leaders are asked and told."""
