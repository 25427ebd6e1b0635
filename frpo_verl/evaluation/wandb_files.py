"""Reads the file of a wandb run that was not synced (`trainer.logger=[wandb]`, `WANDB_MODE=offline`).

The file is a LevelDB log of protocol buffers. wandb brings the messages, and its newer releases no reader in Python:
blocks of 32 KiB hold records of CRC-32, length, type and data, and a message is one record or several (first, middle,
last).
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from frpo_verl.evaluation.file_log import numbers
from frpo_verl.evaluation.metrics import Record, RunLogError

MAGIC = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_BLOCK, _HEAD = 32768, struct.Struct("<IHB")
_FULL, _FIRST, _LAST = 1, 2, 4


def records(path: Path) -> Iterator[Record | str]:
    """Yields the steps of the history, and a note where the file is cut off; raises RunLogError without the package."""
    try:
        from wandb.proto.wandb_internal_pb2 import Record as Message
    except ModuleNotFoundError as error:
        raise RunLogError(f"{path} is wandb's, and {error.name} is missing: pip install wandb") from None
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise RunLogError(f"{path} is not a file of wandb: it does not begin with {MAGIC!r}")
    number = 0
    for data in _messages(content):
        number += 1
        if data is None:
            yield f"{path}, message {number}: half-written or damaged; left out, with what follows it"
            return
        message = Message.FromString(data)
        if message.HasField("history"):
            said = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in message.history.item}
            step = said.pop("_step", message.history.step.num)
            yield Record(f"{path}, message {number}", step, numbers({k: v for k, v in said.items() if k[0] != "_"}))


def _messages(content: bytes) -> Iterator[bytes | None]:
    """Yields each message, and None in place of the first that is cut off or damaged, the last to be yielded."""
    at, parts = len(MAGIC), []
    while at < len(content):
        room = _BLOCK - at % _BLOCK
        if room < _HEAD.size:
            at += room
            continue
        if at + _HEAD.size > len(content):
            break
        crc, length, kind = _HEAD.unpack_from(content, at)
        data = content[at + _HEAD.size : at + _HEAD.size + length]
        if len(data) < length or crc != zlib.crc32(data, zlib.crc32(bytes([kind]))):
            break
        at += _HEAD.size + length
        parts = [data] if kind in (_FULL, _FIRST) else [*parts, data]
        if kind in (_FULL, _LAST):
            yield b"".join(parts)
            parts = []
    else:
        if not parts:
            return
    yield None
