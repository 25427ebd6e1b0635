"""Reads TensorBoard's event files (`trainer.logger=[tensorboard]`, `TENSORBOARD_DIR`) with TensorBoard's own reader."""

from collections.abc import Iterator
from pathlib import Path

from frpo_verl.evaluation.metrics import Record, RunLogError


def records(path: Path) -> Iterator[Record | str]:
    """Yields a file's scalars, and a note where it is cut off or damaged; raises RunLogError without the package."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.tensorflow_stub import errors
        from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
    except ModuleNotFoundError as error:
        raise RunLogError(f"{path} is TensorBoard's, and {error.name} is missing: pip install tensorboard") from None
    reader, number = PyRecordReader_New(str(path)), 0
    while True:
        number += 1
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return
        except errors.DataLossError:
            yield f"{path}, record {number}: half-written or damaged; left out, with what follows it"
            return
        event = Event.FromString(reader.record())
        scalars = {value.tag: value.simple_value for value in event.summary.value if value.HasField("simple_value")}
        if scalars:
            yield Record(f"{path}, record {number}", event.step, scalars)
