"""TensorBoard: event files in the run directory, over environment steps or tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl.runs.loggers import Known, Line

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


def check() -> None:
    """Do nothing: all can be written beside the files of the run."""


def begun(known: Known) -> TensorBoard:
    """Begin, or go on with, the event files of a run."""
    return TensorBoard(known)


class TensorBoard:
    """Event files of a run.

    Lines that are written again replace what was there. Files of a run from before there were
    `loggers.json` go by iterations: they are replaced whole.
    """

    identity: Mapping[str, str] = {}

    def __init__(self, known: Known) -> None:
        # Imported here: it takes a second, and evaluation never needs it.
        from torch.utils.tensorboard.writer import SummaryWriter

        resumed = any(known.path.glob("events.out.tfevents.*"))
        purge = known.count + 1 if known.done else 0
        self.done = known.done if resumed else 0
        self._writer: SummaryWriter = SummaryWriter(
            str(known.path), purge_step=purge if resumed else None
        )
        self._hyper_parameters: dict[str, Any] | None = known.hyper_parameters()

    def write(self, line: Line) -> None:
        """Write every metric, and with the first line the hyper-parameters."""
        self._write_hyper_parameters(line)
        for name, value in {"iteration": line.iteration, **line.values}.items():
            self._writer.add_scalar(name, float(value), line.count)
        self.done = line.iteration

    def show(self, name: str, file: Path, line: Line) -> None:
        """Write a picture or a film as it is in its file."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(file) as picture:
            width, height = picture.size
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=file.read_bytes()
        )
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        self._file_writer().add_summary(summary, line.count)

    def flush(self) -> None:
        """Bring the events onto the disk."""
        self._writer.flush()

    def close(self, *, whole: bool) -> None:
        """Close the file."""
        self._writer.close()

    def _write_hyper_parameters(self, line: Line) -> None:
        if self._hyper_parameters is None:
            return
        from torch.utils.tensorboard.summary import hparams

        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in self._hyper_parameters.items()
            if not (isinstance(value, float) and not math.isfinite(value))
        }
        names = dict.fromkeys(line.values, 0.0)
        for summary in hparams(plain, names):  # type: ignore[no-untyped-call]
            self._file_writer().add_summary(summary)
        self._hyper_parameters = None

    def _file_writer(self) -> Any:
        return self._writer._get_file_writer()  # type: ignore[no-untyped-call]
