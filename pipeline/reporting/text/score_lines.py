"""Whose episodes were scored, and how they did, in words and as Markdown."""

from typing import Any

# Names in evaluate.json, in the order they are shown.
AGENTS = {"policy": "policy", "bc": "behavior cloning", "logged": "logged behavior", "random": "random actions"}


def score_lines(result: dict[str, Any]) -> str:
    """The scores of ``evaluate.json`` as Markdown."""
    shown = {name: score for name, score in result["scores"].items() if score is not None}
    normalized = any(score["mean"] is not None for score in shown.values())
    lines = [
        _run_told(result),
        "",
        f"| agent | mean return [95 %] |{' normalized score |' if normalized else ''} episodes |",
    ]
    lines.append(f"|---|---|{'---|' if normalized else ''}---|")
    for name, score in shown.items():
        low, high = score["return_ci95"]
        mean = f" {score['mean']:.1f} |" if normalized else ""
        told = f"{score['return_mean']:.1f} [{low:.1f}, {high:.1f}]"
        lines.append(f"| {AGENTS[name]} | {told} |{mean} {score['episodes']} |")
    imagined = f"Imagined return over {result['imagination']['horizon']} steps: {result['imagined_return']:.1f}"
    real = "" if result["real_return"] is None else f"; real, over the same steps: {result['real_return']:.1f}"
    return "\n".join([*lines, "", f"{imagined}{real}."]) + "\n"


def _run_told(result: dict[str, Any]) -> str:
    seeds = f"{'seed' if len(result['seeds']) == 1 else 'seeds'} {', '.join(map(str, result['seeds']))}"
    if result["environment"] is None:
        return f"No real episode was run, so the policy has no score; trained with {seeds}."
    return f"Real episodes in {result['environment']}, {seeds}."
