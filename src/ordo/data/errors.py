"""Errors of the data modules. A message names the file or argument, the fault, and the mend."""

from ordo.errors import UserError


class DataError(UserError, ValueError):
    """Data or an argument that describes data is unusable."""


class MissingDataError(DataError, FileNotFoundError):
    """A file is neither on disk nor to be had by downloading."""


class ChecksumError(DataError):
    """A file's md5 differs from the expected one."""


class StreamError(DataError):
    """Reading a stream of documents failed."""

    def __init__(self, message: str) -> None:
        # A loader's worker makes its error anew from the traceback, which ends in the message.
        super().__init__(message.strip().splitlines()[-1].rpartition("StreamError: ")[2])
