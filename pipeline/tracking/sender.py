"""Sends what waits in spools to MLflow: in the background while a stage works, once more at its end, and later."""

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.tracking import events, store
from pipeline.tracking.spool import Spool, entries, in_words, spools_dir

if TYPE_CHECKING:
    from mlflow import MlflowClient

SEND_SECONDS = 5.0  # between two tries; each failed one in a row doubles it
LONGEST_PAUSE = 120.0
EDGE_SECONDS = 30.0  # for what waits at the start of a stage, and again at its end; a slow server gets the rest later
# MLflow's own limits for one request are 120 seconds and 7 retries, for which a stage would wait at its end. A file may
# take a server longer than any other entry.
TIMEOUT, FILE_SECONDS = "MLFLOW_HTTP_REQUEST_TIMEOUT", "120"
LIMITS = {TIMEOUT: "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Sender:
    """Sends the events of one spool until a moment of the monotonic clock; between ``start`` and ``finish`` in a thread
    of its own. ``sent`` counts what the store took, and ``reason`` says why the last try left something."""

    def __init__(self, spool: Spool, client: "MlflowClient", until: float = math.inf) -> None:
        self._spool, self._client, self._until = spool, client, until
        self.sent: Counter[str] = Counter()
        self.reason: str | None = None
        self._refused: Counter[str] = Counter()
        self._refusal = ""  # the store's words
        self._strange: dict[int, str] = {}  # events of runs that the store lacks, and its words; they wait
        self._failed_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send_in_turns, daemon=True, name="tracking")
        for name, value in LIMITS.items():
            os.environ.setdefault(name, value)

    def start(self) -> None:
        """Send in the background from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Stop the thread and send what is left, as far as the time allows."""
        begun = time.monotonic()
        self._until = begun + EDGE_SECONDS
        self._ended.set()
        self._thread.join()
        if self._failed_at < begun:  # else the thread was just told that the store is away, or the time is over
            self.send()

    @property
    def store_is_away(self) -> bool:
        """Whether a try failed that may succeed later."""
        return self._failed_at > 0

    def send(self) -> None:
        """Send everything, or up to the first event for which the store is away or too slow."""
        self.reason = None
        try:
            waiting = [number for number in self._spool.waiting() if number not in self._strange]
            for number in sorted(waiting, key=self._carries_files):
                if time.monotonic() > self._until:
                    self._send_closing_events()
                    raise TimeoutError(f"too slow to take everything in {EDGE_SECONDS:.0f} s")
                self._send_one(number)
            self.reason = next(iter(self._strange.values()), None)
        except Exception as error:  # whatever it is, tracking alone must not end an hour of training
            self.reason = store.reason_of(error)
            self._failed_at = time.monotonic()

    def refusal(self) -> list[str]:
        """A line for the user if the store refused something, which does not wait any more."""
        if not self._refused:
            return []
        place, what = f"MLflow store {self._spool.uri}", in_words(self._refused)
        return [f"warning: {place} refuses {what} of run {self._spool.run_id}, dropped: {self._refusal}"]

    def lines(self) -> list[str]:
        """For the user: what the store refused, what waits for it, and why. Raises OSError if the spool is gone."""
        if self.reason is None:
            return self.refusal()
        return [
            *self.refusal(),
            f"warning: MLflow store {self._spool.uri}: {self.reason}; {self._spool.describe_waiting()} wait in"
            f" {self._spool.folder}; the next stage sends them, or `python -m pipeline sync-tracking`",
        ]

    def _send_one(self, number: int) -> None:
        """Send one event, drop it if the store refuses it for good, or pass it by if the store lacks its run. Raises
        what MLflow raises if the store is away."""
        event = self._spool.event(number)
        try:
            if events.carries_files(event):
                with _time_for_files():
                    events.send(self._client, event, self._spool.folder)
            else:
                events.send(self._client, event, self._spool.folder)
            self.sent += entries(event)
        except Exception as error:
            if store.lacks_run(error):
                self._strange[number] = store.reason_of(error)
                return
            if not store.refuses(error):
                raise
            self._refused += entries(event)
            self._refusal = self._refusal or store.reason_of(error)
        self._spool.mark_sent(number)

    def _send_closing_events(self) -> None:
        """Send the ends of runs before what happened earlier: a status depends on no other entry, but on the order of
        the ends."""
        for number in self._spool.waiting():
            if events.closes(self._spool.event(number)):
                self._send_one(number)

    def _carries_files(self, number: int) -> bool:
        return events.carries_files(self._spool.event(number))

    def _send_in_turns(self) -> None:
        pause = SEND_SECONDS
        while not self._ended.wait(pause):
            before = self._failed_at
            self.send()
            pause = SEND_SECONDS if self._failed_at == before else min(2 * pause, LONGEST_PAUSE)


@contextmanager
def _time_for_files() -> Iterator[None]:
    """MLflow reads its limit at each request, from the environment of the process. What the user set there stays."""
    before = os.environ[TIMEOUT]
    if before == LIMITS[TIMEOUT]:
        os.environ[TIMEOUT] = FILE_SECONDS  # replaced, never removed: other threads may read the environment meanwhile
    try:
        yield
    finally:
        os.environ[TIMEOUT] = before


def send_left(uri: str) -> Iterator[str]:
    """Send what earlier stages left for the store at ``uri``, as far as it takes it, and close those spools. Yields
    lines for the user."""
    until = time.monotonic() + EDGE_SECONDS
    for spool in Spool.left():
        if spool.uri == uri:
            sender = Sender(spool, store.client(uri), until)
            sender.send()
            yield from sender.lines()
            if sender.store_is_away:
                return
        spool.delete_if_done()


def sync() -> Iterator[str]:
    """Send what waits for any store; yields a line for each run. Raises ValueError if something is left."""
    left = []
    for spool in Spool.left():
        if not spool.waiting():
            continue
        try:
            sender = Sender(spool, store.connect(spool.uri))
        except ValueError as error:
            reason: str | None = str(error)
        else:
            sender.send()
            reason = sender.reason
            yield from sender.refusal()
            if sender.sent:
                yield f"run {spool.run_id}: sent {in_words(sender.sent)} to {spool.uri}"
        if reason is not None:
            left.append(f"run {spool.run_id} for MLflow store {spool.uri}: {spool.describe_waiting()} ({reason})")
        spool.delete_if_done()
    if left:
        raise ValueError(
            f"not sent: {'; '.join(left)}; {spools_dir()} keeps it: start the store that has the run and try again, or "
            "delete the folder of a run that is gone"
        )
