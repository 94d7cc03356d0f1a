"""The stages of ``dvc.yaml``: each reads, builds, runs and writes, and knows nothing of the others."""

import atexit
import gc

# torch, Lightning and MLflow make a million objects that stay. Python's collector would go through them again and again
# while they are imported and once more at the end: half the time of a short stage.
gc.set_threshold(50_000, 50, 100)
atexit.register(gc.freeze)
