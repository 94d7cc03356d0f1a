"""``export BUNDLE FILE``: a feed-forward policy as ONNX, raw observations in, raw actions out."""

from pathlib import Path

import torch

from pipeline.encoders.standard import StandardEncoder
from pipeline.serving.agent import load_agent
from pipeline.serving.onnx import RawPolicy


def export_onnx(bundle: Path, file: Path) -> list[str]:
    """Write ``file`` and compare it with the bundle. Raises ValueError where a package is missing or the policy keeps
    a state between steps, which ONNX's single call cannot."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{error.name} is missing; pip install -e '.[onnx]'") from None
    agent = load_agent(bundle)
    if not isinstance(agent.encoder, StandardEncoder):
        raise ValueError(
            f"{bundle}: it plans, or carries a state from step to step; ONNX export is for feed-forward policies"
        )
    example = agent.encoder.mean.expand(2, -1) + agent.encoder.std
    axes = {"obs": {0: torch.export.Dim("batch")}}
    raw = RawPolicy(agent).eval()
    program = torch.onnx.export(raw, (example,), input_names=["obs"], output_names=["action"], dynamic_shapes=axes)
    assert program is not None
    program.save(str(file))
    checked = torch.cat([example, agent.encoder.mean[None]])
    (found,) = onnxruntime.InferenceSession(str(file)).run(None, {"obs": checked.numpy()})
    difference = float((torch.from_numpy(found) - raw(checked)).abs().max())
    if difference > 1e-4:
        raise ValueError(f"{file}: differs from the bundle by {difference}; do not use it, and report this")
    return [f"{file}: written; differs from the bundle by at most {difference:.1e}"]
