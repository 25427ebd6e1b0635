"""Holds rows of different length as one array, so that millions of token ids take their own size in memory."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Ragged(NamedTuple):
    """Row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of_rows(cls, rows: Iterable[Sequence[int]], dtype: type = np.int32) -> "Ragged":
        """Copies rows into one array."""
        arrays = [np.asarray(row, dtype) for row in rows]
        lengths = np.array([len(row) for row in arrays], np.int64)
        return cls(np.concatenate([np.empty(0, dtype), *arrays]), _offsets(lengths))

    @classmethod
    def of_column(cls, column: Any) -> "Ragged":
        """Takes a list array of Arrow without nulls; of a list of lists, its rows are those inside."""
        import pyarrow
        import pyarrow.compute as pc

        while pyarrow.types.is_list(column.type.value_type) or pyarrow.types.is_large_list(column.type.value_type):
            column = column.flatten()
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(column.flatten().to_numpy(zero_copy_only=False), _offsets(lengths))

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """Puts the rows of several one after the other."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(np.concatenate([part.values for part in parts]), _offsets(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int) -> np.ndarray:
        """Returns one row, a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Returns the number of values in each row."""
        return np.diff(self.offsets)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])
