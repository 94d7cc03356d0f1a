"""The MLflow run that an interrupted stage continues."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

UNUSABLE = (".partial", ".damaged")  # suffixes of resume points that were never complete, or are not any more


class ResumedRun:
    """The folder of one stage and key, which holds its resume point and the id of its MLflow run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "run_id"

    def run_id(self, client: "MlflowClient") -> str | None:
        """The id of the interrupted run; None without a resume point, or if the store no longer has the run."""
        from mlflow.exceptions import MlflowException

        if not self._file.exists() or not self._holds_checkpoint():
            return None
        run_id = self._file.read_text().strip()
        try:
            return run_id if client.get_run(run_id).info.lifecycle_stage == "active" else None
        except MlflowException:
            return None

    def remember(self, run_id: str) -> None:
        """Store the id of the stage's run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text(run_id)

    def forget(self, finished: bool) -> None:
        """Delete everything of a finished stage; of an unfinished one the run id, if there is no resume point."""
        if finished:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif not self._holds_checkpoint():
            self._file.unlink(missing_ok=True)
        for folder in (self.folder, self.folder.parent):
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()

    def _holds_checkpoint(self) -> bool:
        others = [path for path in self.folder.glob("*") if path != self._file]
        return any(path.suffix not in UNUSABLE for path in others)
