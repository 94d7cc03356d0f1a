"""Peak of anonymous memory. Pages of memory-mapped files are not counted, because the kernel can reclaim them."""

import threading
import time
from pathlib import Path

STATUS = Path("/proc/self/status")


class AnonymousPeak:
    """Context manager that samples the anonymous memory of this process, in bytes, every 20 ms."""

    def __enter__(self) -> "AnonymousPeak":
        self.start = self.peak = anonymous_bytes()
        self.running = True
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.running = False
        self.thread.join()

    @property
    def mib(self) -> int:
        """The peak in MiB, that of the program and its libraries included."""
        return self.peak >> 20

    def _sample(self) -> None:
        while self.running:
            self.peak = max(self.peak, anonymous_bytes())
            time.sleep(0.02)


def anonymous_bytes() -> int:
    """Anonymous memory of this process (``RssAnon``); 0 on systems without /proc."""
    if not STATUS.exists():
        return 0
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) << 10
