"""The whole exception tree: each class says whose fault it is.

A peer's fault (`MalformedMessage`) never leaves the core: it becomes an event. A caller's fault
(`UsageError`) is raised before any state changes. Our own mistakes are `assert`s.
"""


class SwimnomadError(Exception):
    """Base of every exception this package raises on purpose."""


class MalformedMessage(SwimnomadError):
    """Bytes from a peer that do not follow the protocol or exceed a limit."""


class UsageError(SwimnomadError):
    """The caller asked for something impossible; nothing has changed.

    The text is one sentence that names the thing and what is allowed.
    """


class ConfigError(UsageError):
    """A configuration or scenario file, flag or environment variable is wrong.

    The text names file, line and key where they are known, what was found and what is allowed.
    """


class KeyringError(UsageError):
    """A key has a wrong length, is unknown, or is the primary and cannot be removed."""


class OperationError(SwimnomadError):
    """A command to an agent did not succeed.

    Attributes:
        may_have_happened: False if the operation certainly had no effect, True if its outcome
            is unknown.
    """

    def __init__(self, text: str, *, may_have_happened: bool) -> None:
        super().__init__(text)
        self.may_have_happened = may_have_happened
