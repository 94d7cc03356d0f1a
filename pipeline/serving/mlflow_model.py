"""The policy behind ``mlflow models predict``: MLflow runs this file to build the model (models from code)."""

from collections.abc import Mapping
from typing import Any, cast

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPolicy(PythonModel):
    """Observations to actions "B A", both in the environment's units.

    A stateless policy takes observations "B O". A stateful one takes everything since each episode began: every
    observation by its name, "B T ...", and ``action`` "B T-1 A".
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the agent from the bundle that was logged."""
        from pipeline.serving.agent import load_agent

        self.agent = load_agent(context.artifacts["bundle"])

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Actions for ``model_input``; ``params`` are not used."""
        if self.agent.stateful:
            # The annotation is one that MLflow accepts beside a signature; it derives nothing from it.
            episodes = cast("Mapping[str, np.ndarray]", model_input)
            named = {key: np.asarray(value) for key, value in episodes.items()}
            return self.agent.act_after(named, named.pop("action"))
        obs = np.asarray(model_input, dtype=np.float32)
        self.agent.reset(len(obs))
        return self.agent.act(obs)


mlflow.models.set_model(ServedPolicy())
