"""What is published, on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from mmhrnet.checkpoints.fetching import link
from mmhrnet.checkpoints.places import HUB
from mmhrnet.errors import ConfigError, UserError
from mmhrnet.models.on_hub import make_repository

LOG_IN = 'run `hf auth login`, or set HF_TOKEN to a token that may write'


class PushError(UserError, RuntimeError):
    """The Hub did not take the files; the message says why."""


def check_repository(name: str) -> str:
    """The name of a repository, without ``hf://``.

    Raises:
        ConfigError: It is not ``user/model``.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    name = name.removeprefix(HUB)
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ConfigError(f'{name!r} is no repository of the Hub: {error}') from error
    if '/' not in name:
        raise ConfigError(f'{name!r} is no repository of the Hub: name it user/model')
    return name


def push(
    repository: str, folder: Path, files: Mapping[str, Path | str], *, private: bool = False
) -> str:
    """Uploads files in one commit, and makes the repository if it is absent.

    Args:
        repository: ``user/model``.
        folder: Where the files are prepared, on the disk of those that are paths.
        files: Paths or texts, by their names in the repository.
        private: Only for the owner; a repository that is public already is refused.

    Returns:
        The address of the commit.

    Raises:
        PushError: The Hub refused them, or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with TemporaryDirectory(dir=folder, prefix='.') as prepared:
        for name, content in files.items():
            target = Path(prepared, name)
            if isinstance(content, Path):
                link(content, target)
            else:
                target.write_text(content, encoding='utf-8')
        try:
            make_repository(api, repository, private)
            message = 'Publish with mmhrnet'
            done = api.upload_folder(
                repo_id=repository, folder_path=prepared, commit_message=message
            )
        except Exception as error:  # the library's own, and those of its transport
            raise PushError(
                f'{repository} did not get the files: {_reason(error)}. They are in {folder}; '
                'the same command tries again'
            ) from error
    return str(done.commit_url)


def _reason(error: Exception) -> str:
    from huggingface_hub import get_token

    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
    said = getattr(cause, 'server_message', None) or str(cause)
    text = '; '.join(line.strip('- .') for line in said.splitlines() if line.strip())
    status = getattr(getattr(cause, 'response', None), 'status_code', None)
    if status == 401:
        problem = 'the Hub does not accept the token' if get_token() else 'there is no token'
        return f'{problem} ({text}); {LOG_IN}'
    if status == 403:
        return f'the token may not write there ({text}); {LOG_IN}'
    if status == 404:
        return f'there is no such repository ({text})'
    return (
        text if status or isinstance(cause, ValueError) else f'the Hub cannot be reached ({text})'
    )
