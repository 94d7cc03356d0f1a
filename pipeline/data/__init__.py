"""Prepared datasets as torch tensors: the dataset on disk, its transitions and windows, and training batches."""
