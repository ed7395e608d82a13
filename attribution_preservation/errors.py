"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A foreseeable failure, said in one line: what is wrong, where, and what to do about it."""
