"""The policy behind ``mlflow models predict``: MLflow runs this file to build the model (models from code)."""

from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedPolicy(PythonModel):
    """Observations to actions "B A", both in the environment's units.

    A stateless policy takes observations "B O". A stateful one takes everything since each episode began: every
    observation by its name, "B T ...", and ``action`` "B T-1 A". Calls share the networks alone, so they may overlap.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the agent from the bundle that was logged."""
        from pipeline.serving.agent import load_agent

        self.agent = load_agent(context.artifacts["bundle"])

    # The annotation is one that MLflow accepts beside a signature; it derives nothing from it.
    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Actions for ``model_input``; ``params`` are not used. Raises the exception that MLflow's server turns into
        status 400, with the reason, for a malformed request."""
        try:
            return self.agent.answer(model_input)
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


mlflow.models.set_model(ServedPolicy())
