"""``export BUNDLE FILE``: export a feed-forward policy to ONNX, from raw observations to raw actions."""

import logging
import warnings
from pathlib import Path

import torch

from pipeline.encoders.standard import StandardEncoder
from pipeline.serving.agent import load_agent
from pipeline.serving.onnx import RawPolicy, metadata

EXPORTER = "torch.onnx._internal.exporter._registration"  # warns of packages that no policy needs


def export_onnx(bundle: Path, file: Path) -> list[str]:
    """Write ``file`` with names, bounds and units in its metadata, and compare its actions with the bundle's.

    Raises ValueError if a package is missing, and for a policy that keeps a state between steps or plans.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{error.name} is missing; run `pip install -e '.[onnx]'`") from None
    agent = load_agent(bundle)
    if not isinstance(agent.encoder, StandardEncoder):
        raise ValueError(
            f"{bundle}: the policy plans or keeps a state between steps; ONNX export is for feed-forward policies"
        )
    example = agent.encoder.mean.expand(2, -1) + agent.encoder.std
    axes = {"obs": {0: torch.export.Dim("batch")}}
    raw = RawPolicy(agent).eval()
    logging.getLogger(EXPORTER).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        program = torch.onnx.export(
            raw, (example,), input_names=["obs"], output_names=["action"], dynamic_shapes=axes, verbose=False
        )
    assert program is not None
    program.model.metadata_props.update(metadata(agent.spec))
    program.save(str(file))
    obs = torch.cat([example, agent.encoder.mean[None]])
    (action,) = onnxruntime.InferenceSession(str(file)).run(None, {"obs": obs.numpy()})
    difference = float((torch.from_numpy(action) - raw(obs)).abs().max())
    if not difference <= 1e-4:  # also for NaN
        raise ValueError(
            f"{file}: its actions differ from the bundle's by {difference}; do not use it, and report this"
        )
    return [f"{file}: written; differs from the bundle by at most {difference:.1e}"]
