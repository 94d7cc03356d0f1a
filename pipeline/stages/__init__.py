"""The stages of ``dvc.yaml``: each reads, builds, runs and writes, and knows nothing of the others."""
