"""Encoders turn observations into states: normalized, with a history, or from stacked frames.

``ENCODERS`` holds those that policies use without a world model, by the name that bundles give them. A world model is
an encoder too.
"""

from pipeline.encoders.frame_stack import FramesConfig, StackedFrames
from pipeline.encoders.history import HistoryEncoder, vector_encoder
from pipeline.encoders.standard import StandardEncoder
from pipeline.encoders.statistics import DataSpec

Encoder = StandardEncoder | HistoryEncoder | StackedFrames
ENCODERS: dict[str, type[Encoder]] = {"standard": StandardEncoder, "history": HistoryEncoder, "frames": StackedFrames}


def encoder_for(data: DataSpec, history: int = 0) -> Encoder:
    """The encoder for logs like ``data`` that carries ``history`` past steps; images are stacked instead.

    Raises ValueError for images with a history.
    """
    if all(len(shape) < 3 for shape in data.obs_shapes.values()):
        return vector_encoder(history, data.obs_shapes, data.statistics, data.action_dim)
    if history:
        raise ValueError(
            "params.yaml: images are stacked, and a baseline's `history` is for logs without them: set it to 0"
        )
    return StackedFrames.from_data(FramesConfig(), data)
