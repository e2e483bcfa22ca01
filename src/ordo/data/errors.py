"""Errors of the data modules: every message names the file or argument, what is wrong with it, and the mend."""


class DataError(ValueError):
    """Data or an argument that describes data is unusable."""


class MissingDataError(DataError, FileNotFoundError):
    """A file is neither on disk nor to be had by downloading."""


class ChecksumError(DataError):
    """A file's md5 differs from the expected one."""


class StreamError(DataError):
    """A stream of documents broke off."""

    def __init__(self, message: str) -> None:
        # A loader's worker makes its error anew from the whole traceback, whose last line is what it said.
        super().__init__(message.strip().splitlines()[-1].rpartition("StreamError: ")[2])
