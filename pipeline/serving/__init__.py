"""A policy on disk and in use: bundle, agent, MLflow model, model card."""
