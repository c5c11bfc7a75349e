"""Errors a person can act on: one line that names the thing, what is wrong, and the way out."""


class GristmillError(Exception):
    """Base of every error that is the user's to mend; shown as one line, never as a traceback."""

    exit_code = 2


class SettingsError(GristmillError):
    """A settings file or a setting given on a command line is malformed or out of range."""


class CorpusError(GristmillError):
    """A corpus name, path or registration is not usable."""


class MissingDataError(GristmillError):
    """Something that has to be materialized first is not there, or is there for other settings."""


class EnvironmentProblemError(GristmillError):
    """The machine lacks something: Java, disk space, a model file, permission."""


def one_line(error: BaseException) -> str:
    """Return `error` as one printable line, whatever its message holds."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, GristmillError) else f"{type(error).__name__}: {text}"
