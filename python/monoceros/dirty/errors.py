"""What can go wrong with a call of a dirty app, told to whoever made the call.

Names, attributes and the dictionary form are Gunicorn's (`gunicorn.dirty.errors`,
`gunicorn.dirty.stash`). Rules:
- An error travels as its `to_dict`, and arrives as the same class with the same attributes.
- The text is for people and complete; what code may want to look at is an attribute.
"""

from typing import Any, ClassVar


class DirtyError(Exception):
    """The base of all errors of dirty apps."""

    #: Attributes that stand in `details` and travel with the error.
    FIELDS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or {}

    def __str__(self) -> str:
        return self.message

    def _keep(self, **fields: Any) -> None:
        """Set attributes, and note in `details` those that say something."""
        for name, value in fields.items():
            setattr(self, name, value)
            if value is not None:
                self.details[name] = value

    def to_dict(self) -> dict[str, Any]:
        """The error as plain data."""
        return {
            "error_type": type(self).__name__,
            "message": self.message,
            "details": self.details,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "DirtyError":
        """The error that `data` describes; a class that is not known becomes DirtyError."""
        found = _KNOWN.get(str(data.get("error_type")), DirtyError)
        error = found.__new__(found)
        details = data.get("details")
        DirtyError.__init__(
            error, str(data.get("message", "Unknown error")), details=dict(details or {})
        )
        for name in found.FIELDS:
            setattr(error, name, error.details.get(name))
        return error


class DirtyTimeoutError(DirtyError):
    """A call took longer than it may. `timeout`: the limit, seconds."""

    FIELDS = ("timeout",)
    timeout: float | None

    def __init__(self, message: str = "Operation timed out", timeout: float | None = None) -> None:
        super().__init__(message)
        self._keep(timeout=timeout)


class DirtyConnectionError(DirtyError):
    """The dirty arbiter cannot be reached, or ended while it had the call."""

    FIELDS = ("socket_path",)
    socket_path: str | None

    def __init__(self, message: str = "Connection failed", socket_path: str | None = None) -> None:
        super().__init__(message)
        self._keep(socket_path=socket_path)


class DirtyWorkerError(DirtyError):
    """The dirty worker ended while it ran the call. `worker_id`: its pid."""

    FIELDS = ("worker_id", "traceback")
    worker_id: int | None
    traceback: str | None

    def __init__(
        self, message: str, worker_id: int | None = None, traceback: str | None = None
    ) -> None:
        super().__init__(message)
        self._keep(worker_id=worker_id, traceback=traceback)


class DirtyAppError(DirtyError):
    """The app raised an exception. `traceback`: as it was in the dirty worker."""

    FIELDS = ("app_path", "action", "traceback")
    app_path: str | None
    action: str | None
    traceback: str | None

    def __init__(
        self,
        message: str,
        app_path: str | None = None,
        action: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self._keep(app_path=app_path, action=action, traceback=traceback)


class DirtyAppNotFoundError(DirtyAppError):
    """A dirty app cannot be imported."""

    def __init__(self, app_path: str) -> None:
        super().__init__(f"Dirty app not found: {app_path}", app_path=app_path)


class DirtyNoWorkersAvailableError(DirtyError):
    """No dirty worker has the app, or none can take the call."""

    FIELDS = ("app_path",)
    app_path: str | None

    def __init__(self, app_path: str, message: str | None = None) -> None:
        super().__init__(message or f"No workers available for app: {app_path}")
        self._keep(app_path=app_path)


class DirtyProtocolError(DirtyError):
    """A value cannot be sent, or what was received is no message."""

    def __init__(self, message: str = "Protocol error", raw_data: bytes | None = None) -> None:
        super().__init__(message, {} if raw_data is None else {"raw_data": raw_data[:100].hex()})


class StashError(DirtyError):
    """An operation on the stash failed."""


class StashTableNotFoundError(StashError):
    """There is no such table."""

    FIELDS = ("table_name",)
    table_name: str | None

    def __init__(self, table_name: str) -> None:
        super().__init__(f"Stash table not found: {table_name}")
        self._keep(table_name=table_name)


class StashKeyNotFoundError(StashError):
    """There is no such key in the table."""

    FIELDS = ("table_name", "key")
    table_name: str | None
    key: Any

    def __init__(self, table_name: str, key: Any) -> None:
        super().__init__(f"Key not found in {table_name}: {key}")
        self._keep(table_name=table_name, key=key)


_KNOWN: dict[str, type[DirtyError]] = {
    known.__name__: known
    for known in (
        DirtyTimeoutError,
        DirtyConnectionError,
        DirtyWorkerError,
        DirtyAppError,
        DirtyAppNotFoundError,
        DirtyNoWorkersAvailableError,
        DirtyProtocolError,
        StashError,
        StashTableNotFoundError,
        StashKeyNotFoundError,
    )
}
