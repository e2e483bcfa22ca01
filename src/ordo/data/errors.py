"""Errors of the data modules: every message names the file or argument, what is wrong with it, and the mend."""


class DataError(ValueError):
    """Data or an argument that describes data is unusable."""


class MissingDataError(DataError, FileNotFoundError):
    """A file is neither on disk nor to be had by downloading."""


class ChecksumError(DataError):
    """A file's md5 differs from the expected one."""
