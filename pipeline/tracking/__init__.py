"""Runs in MLflow, log files, keys of stages. Start with :mod:`pipeline.stages.stage`."""
