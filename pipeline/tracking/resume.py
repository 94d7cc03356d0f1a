"""Which MLflow run an interrupted stage goes on with."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ResumedRun:
    """The folder of one stage and key. The stage keeps its checkpoint there; the run id stands beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._file = folder, folder / "run_id"

    def run_id(self, client: "MlflowClient") -> str | None:
        """The interrupted run's id, where the stage left a checkpoint to go on from and the store still has the run."""
        from mlflow.exceptions import MlflowException

        if not self._file.exists() or not self._holds_checkpoint():
            return None
        run_id = self._file.read_text().strip()
        try:
            return run_id if client.get_run(run_id).info.lifecycle_stage == "active" else None
        except MlflowException:
            return None

    def remember(self, run_id: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text(run_id)

    def forget(self, finished: bool) -> None:
        """Drop all of a finished stage; of another the run id, where it left nothing to resume."""
        if finished:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif not self._holds_checkpoint():
            self._file.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()

    def _holds_checkpoint(self) -> bool:
        others = [path for path in self.folder.glob("*") if path != self._file]
        return any(path.suffix != ".partial" for path in others)
