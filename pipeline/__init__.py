"""Offline model-based reinforcement learning on logged datasets.

The stages, in the order of ``dvc.yaml`` (each a short script in ``pipeline.stages``):

    ingest               logs -> data/dataset             one prepared form, whatever the source
    fit_world_model      -> data/world_model/seed-K       an ensemble of what could happen next
    assess_world_model   -> data/calibration/seed-K       where its errors grow, whether its uncertainty ranks them
    behavior_cloning      -> data/bc/seed-K                the baseline: imitate the logs
    learn_policy         -> data/policy/seed-K            a policy learned in pessimistic imagination
    evaluate             -> data/returns                  real episodes beside logs, BC and random
    report               -> reports/                      one page that tells the truth about all of it

Reading order, which is import order: types, protocols, params, seeding, imagination; then envs, networks, encoders,
ingest, data, world_models, uncertainty, policies, training, assessment, evaluation, ope, serving, tracking, reporting,
stages, cli and bench.
"""
