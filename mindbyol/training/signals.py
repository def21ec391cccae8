"""SIGTERM and SIGINT, as a question that a loop can ask."""

import os
import signal
import threading


class StopSignals:
    """SIGTERM and SIGINT ask for a stop at the next step; a second one stops at once.

    Python hears signals in its main thread alone: in another one nothing changes.

    Attributes:
        received (str or None): Name of the signal that came, for people.
    """

    def __init__(self):
        self.received = None

    def __enter__(self):
        main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT) if main else ()
        self._before = {number: signal.signal(number, self._take) for number in numbers}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number, _):
        for again in self._before:  # needs no Python to run, which a long step on the device would keep waiting
            signal.signal(again, signal.SIG_DFL)
        # While a graph compiles or runs, MindSpore takes SIGINT itself, and sends SIGTERM to its own process.
        self.received = "Ctrl-C" if number == signal.SIGINT else "SIGTERM or Ctrl-C"
        # Not by the log: the signal may have come in the middle of a line of it, and files are not reentrant.
        os.write(2, f"\n{self.received}: saving after this step, then stopping; once more stops at once\n".encode())
