"""The leader's side of captures that are asked for: one at a time, the same steps on all chosen ranks."""
