"""The policy behind ``mlflow models predict``: MLflow runs this file to build the model (models from code)."""

from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPolicy(PythonModel):
    """Observations "B O" to actions "B A", both in the environment's own units. Each row starts an episode."""

    def load_context(self, context: PythonModelContext) -> None:
        from pipeline.agents import load_agent

        self.agent = load_agent(context.artifacts["bundle"])

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        obs = np.asarray(model_input, dtype=np.float32)
        self.agent.reset(len(obs))
        return self.agent.act(obs)


mlflow.models.set_model(ServedPolicy())
