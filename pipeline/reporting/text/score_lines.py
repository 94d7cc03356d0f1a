"""Scores as Markdown, for the model card."""

from pipeline.evaluation.results import EvaluationSummary, plain_interval

# How agents are called for readers; others by their names in params.yaml.
LABELS = {
    "bc": "behavior cloning",
    "weighted_bc": "cloning of good episodes",
    "td3_bc": "TD3+BC",
    "iql": "IQL",
    "rebrac": "ReBRAC",
    "logged": "logged behavior",
    "random": "random actions",
}


def label(agent: str) -> str:
    """What an agent of evaluate.json is called for readers."""
    return LABELS.get(agent, agent)


def score_lines(evaluation: EvaluationSummary) -> str:
    """The scores of ``evaluate.json`` as Markdown."""
    scores = {agent: score for agent, score in evaluation.scores.items() if score is not None}
    normalized = any(score.mean is not None for score in scores.values())
    lines = [
        _runs(evaluation),
        "",
        f"| agent | mean return [95 %] |{' mean normalized score [95 %] |' if normalized else ''} episodes |",
        f"|---|---|{'---|' if normalized else ''}---|",
    ]
    for agent, score in scores.items():
        cells = [label(agent), plain_interval(score.return_mean, score.return_mean_ci95)]
        if normalized:
            cells.append(plain_interval(score.mean, score.mean_ci95))
        lines.append(f"| {' | '.join([*cells, str(score.episodes)])} |")
    imagined = f"Imagined return over {evaluation.imagination.horizon} steps: {evaluation.imagined_return:.1f}"
    real = "" if evaluation.real_return is None else f"; real, over the same steps: {evaluation.real_return:.1f}"
    return "\n".join([*lines, "", f"{imagined}{real}."]) + "\n"


def _runs(evaluation: EvaluationSummary) -> str:
    seeds = f"{'seed' if len(evaluation.seeds) == 1 else 'seeds'} {', '.join(map(str, evaluation.seeds))}"
    if evaluation.environment is None:
        return f"No real episode was run, so the policy has no score; trained with {seeds}."
    return f"Real episodes in {evaluation.environment}, {seeds}."
