"""Pure decisions: job + observed -> plan and status. No client, no clock, no kopf."""
