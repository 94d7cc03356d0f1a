"""Sends what waits in spools to MLflow: in the background while a stage works, once more at its end, and later."""

import os
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.tracking import events, store
from pipeline.tracking.spool import Spool, spools_dir

if TYPE_CHECKING:
    from mlflow import MlflowClient

SEND_SECONDS = 5.0  # between two tries; each failed one in a row doubles it
LONGEST_PAUSE = 120.0
# MLflow's own limits for one request are 120 seconds and 7 retries, for which a stage would wait at its end.
LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Sender:
    """Sends the events of one spool, in a thread of its own between ``start`` and ``finish``."""

    def __init__(self, spool: Spool, client: "MlflowClient") -> None:
        self._spool, self._client = spool, client
        self._refused: dict[int, str] = {}  # the store's words, by the number of the event
        self._reason: str | None = None
        self._failed_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_in_turns, daemon=True, name="tracking")

    def start(self) -> None:
        """Send in the background from now on."""
        for name, value in LIMITS.items():
            os.environ.setdefault(name, value)
        self._thread.start()

    def finish(self) -> str | None:
        """Stop the thread and send what is left; the reason if something could not be sent."""
        begun = time.monotonic()
        self._ended.set()
        self._thread.join()
        if self._failed_at < begun:  # else the thread was just told that the store is away
            self.send()
        return self._reason

    @property
    def store_is_away(self) -> bool:
        """Whether a try failed that may succeed later."""
        return self._failed_at > 0

    def send(self) -> str | None:
        """Send everything, or up to the first event for which the store is away; the reason if something is left."""
        self._reason = next(iter(self._refused.values()), None)
        with_files = []
        for number in self._spool.waiting():
            if events.carries_files(self._spool.event(number)):
                with_files.append(number)
            elif not self._sent(number):
                return self._reason
        all(self._sent(number) for number in with_files)
        return self._reason

    def _sent(self, number: int) -> bool:
        """Send one event; False if the store is away."""
        if number in self._refused:
            return True
        try:
            events.send(self._client, self._spool.event(number), self._spool.folder)
            self._spool.mark_sent(number)
        except Exception as error:  # whatever it is, tracking alone must not end an hour of training
            self._reason = store.reason_of(error)
            if not store.refuses(error):
                self._failed_at = time.monotonic()
                return False
            self._refused[number] = self._reason
        return True

    def _send_in_turns(self) -> None:
        pause = SEND_SECONDS
        while not self._ended.wait(pause):
            before = self._failed_at
            self.send()
            pause = SEND_SECONDS if self._failed_at == before else min(2 * pause, LONGEST_PAUSE)


def send_left(uri: str) -> None:
    """Send what earlier stages left for the store at ``uri``, as far as it takes it, and close those spools."""
    for spool in Spool.left():
        if spool.uri == uri:
            sender = Sender(spool, store.client(uri))
            sender.send()
            if sender.store_is_away:
                return
        spool.delete_if_done()


def sync() -> Iterator[str]:
    """Send what waits for any store; yields a line for each run. Raises ValueError if something is left."""
    left = []
    for spool in Spool.left():
        waiting = spool.describe_waiting()
        if not waiting:
            continue
        reason = _sync_one(spool)
        if reason is None:
            yield f"run {spool.run_id}: sent {waiting} to {spool.uri}"
        else:
            left.append(f"run {spool.run_id} for MLflow store {spool.uri}: {spool.describe_waiting()} ({reason})")
        spool.delete_if_done()
    if left:
        raise ValueError(f"not sent: {'; '.join(left)}; {spools_dir()} keeps it: start the store and try again")


def _sync_one(spool: Spool) -> str | None:
    try:
        store.connect(spool.uri)
    except ValueError as error:
        return str(error)
    return Sender(spool, store.client(spool.uri)).send()
