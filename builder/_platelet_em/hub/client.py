"""The client of the Hub, and its exceptions as `HubError`."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
)

from _platelet_em import __version__
from _platelet_em.errors import HubError, PlateletEMError

__all__ = ["client_errors", "connect"]

_TRY_AGAIN = "run the same command again"
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that has the rights"
_REMEDIES = {
    400: f"correct what it names, then {_TRY_AGAIN}",
    401: _LOG_IN,
    403: _LOG_IN,
    404: "check the name, and that the token may see it",
    412: "the branch has changed in the meantime: run the same command again",
    429: f"wait some minutes, then {_TRY_AGAIN}",
}
_CAUSES = {
    HFValidationError: "give it as USER/NAME",
    PermissionError: "set HF_HOME to a folder that can be written",
}


def connect(token: str | None = None) -> HfApi:
    """The client; a token of None is the one that the client finds."""
    return HfApi(token=token, library_name="platelet-em", library_version=__version__)


@contextmanager
def client_errors(name: str) -> Iterator[None]:
    """Turn the exceptions of the client, which are of many classes, into `HubError`.

    Args:
        name: What the message begins with: the repository, or a file of it.

    Raises:
        HubError: instead of them, and at once if the client is offline.
    """
    if constants.HF_HUB_OFFLINE:
        raise HubError(
            f"{name}: the Hub is not asked, since HF_HUB_OFFLINE is set: unset it, or name a "
            "folder of this machine"
        )
    try:
        yield
    except PlateletEMError:
        raise
    except Exception as error:
        raise HubError(f"{name}: {_explain(error)}") from error


def _explain(error: BaseException) -> str:
    """One sentence for an exception of the client: the cause, and what the user can do."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    for link in chain:
        if isinstance(link, HfHubHTTPError) and link.response is not None:
            status, reason = link.response.status_code, _one_line(link.server_message or link)
            return f"the Hub answered {status}, {reason}: {_REMEDIES.get(status, _TRY_AGAIN)}"
        if isinstance(link, LocalTokenNotFoundError):  # its own text has four sentences
            return f"there is no token: {_LOG_IN}"
        for kind, remedy in _CAUSES.items():
            if isinstance(link, kind):
                return f"{_one_line(link)}: {remedy}"
    innermost = chain[-1]
    reason = f"{type(innermost).__name__}: {_one_line(innermost)}"
    return f"{reason}: check the connection, and {_TRY_AGAIN}"


def _one_line(value: object) -> str:
    return " ".join(str(value).split())[:300]
