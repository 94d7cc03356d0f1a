"""MLflow runs, log files and stage keys. :mod:`pipeline.stages.stage` ties them together."""
