"""Counting the steps of a training, by the optimizers and loops of its framework."""
