"""Errors that are the user's to mend: each is one line that names the key or file, what was found and what helps."""


class UserError(Exception):
    """Something outside the program is wrong; the message is one line, and no traceback is shown."""


class ConfigError(UserError):
    """The configuration is not usable."""


class DataError(UserError):
    """A file is missing, unreadable or not what it should be."""


class DivergenceError(UserError):
    """A simulation stopped being finite."""
