"""ftjob: distributed training on Kubernetes from one short YAML."""

__version__ = "0.1.0"
