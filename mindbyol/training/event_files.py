"""The numbers of metrics.jsonl as an event file, which TensorBoard reads."""

import json
import time
from pathlib import Path

FOLDER = "tensorboard"


def check_installed():
    """Makes sure, before anything is trained, that the package that writes event files is there.

    Raises:
        ValueError: It is not; the message says what to do.
    """
    try:
        import tensorboard.compat.proto.event_pb2
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"tensorboard: event files need a package that is not there ({error}): "
            "pip install -r requirements-tensorboard.txt, or leave --tensorboard out"
        ) from None


class EventFile:
    """Has each record of metrics.jsonl, too, in `FOLDER` in the run's folder.

    It is made anew from metrics.jsonl whenever a run begins or goes on. So no point is there twice, and none is missing
    where event files were not asked for from the start. Points of before then have the time of now: curves belong over
    steps.

    Args:
        folder (Path): Of the run, with the metrics.jsonl that is gone on with, if there is one.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, folder):
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        events = Path(folder) / FOLDER
        events.mkdir(exist_ok=True)
        for earlier in events.glob("events.out.tfevents.*"):
            earlier.unlink()
        self._file = open(events / f"events.out.tfevents.{time.time_ns()}", "wb")
        self._records = RecordWriter(self._file)
        self._records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        metrics = Path(folder) / "metrics.jsonl"
        for line in metrics.read_text().splitlines() if metrics.exists() else ():
            self.add(json.loads(line))

    def add(self, record):
        """Adds a record.

        Args:
            record (dict): `step`, and numbers by name, each a point of a curve.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in record.items() if name != "step"]
        event = Event(wall_time=time.time(), step=record["step"], summary=Summary(value=values))
        self._records.write(event.SerializeToString())
        self._file.flush()

    def close(self):
        self._file.close()
