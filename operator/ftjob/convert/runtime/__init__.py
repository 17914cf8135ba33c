"""Runtimes of Kubeflow Trainer: which one a job asks for, and what it lays over it."""
