"""Offline model-based reinforcement learning on logged datasets.

The stages in the order of ``dvc.yaml``; each is a short script in ``pipeline.stages`` that calls one function:

    ingest               logs -> data/dataset             logs of any source in one prepared form
    fit_world_model      -> data/world_model/seed-K       a model that predicts next states and rewards
    assess_world_model   -> data/calibration/seed-K       the model's errors, and whether its uncertainty ranks them
    baseline             -> data/baselines/seed-K/NAME    a policy from the logs alone, without a world model
    learn_policy         -> data/policy/seed-K            a policy learned in pessimistic imagination
    evaluate_offline     -> data/offline/seed-K.json      both policies' values, estimated without an environment
    evaluate             -> data/returns                  real episodes of both policies, the logs and random actions
    report               -> reports/                      all results on one page

:mod:`pipeline.api` offers the same functions for notebooks.

Reading order, which is import order: types, validation, protocols, params, seeding, imagination; then envs, networks,
encoders, ingest, data, world_models, uncertainty, policies, training, assessment, evaluation, ope, serving, tracking,
reporting, stages, api, cli and bench.
"""
