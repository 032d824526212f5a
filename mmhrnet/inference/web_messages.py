"""What visitors of the web page are told of an error: what to change, and nothing of the server."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.error import URLError

from mmhrnet.checkpoints.fetching import FetchError
from mmhrnet.datasets.images import ImageError
from mmhrnet.errors import UserError

# The folders of an absolute path, but not those of a URL.
FOLDERS = re.compile(r"(?<![\w:/.~-])~?/(?:[^\s/'\"<>|,;]+/)*(?=[^\s/])")
VARIABLE = re.compile(r'\b[A-Z][A-Z0-9]*(_[A-Z0-9]+)+\b')  # of the environment
CLAUSE = re.compile(r'(?<=[.;:]) ')
ASK = 'Choose other weights, or ask whoever runs this page'
BUG = 'The server failed, and its log has the details. Try another image or other weights'
OTHER_FILE = 'Choose another file, such as a PNG or a JPEG'
OFFLINE = 'Choose weights of this machine, or try again later'


def for_visitors(error: UserError, folders: Iterable[Path]) -> str:
    """The text of an error as HTML, without paths and environment variables of the server.

    Args:
        error: The error, whose own text is for those who run the server.
        folders: Folders of the server whose names may have spaces. Only the last part of any
            absolute path stays.
    """
    offline = isinstance(error.__cause__, (URLError, FetchError))
    text = str(error).partition('\n')[0] if offline else str(error)  # then the places follow
    names = {str(name) for folder in folders for name in (folder, folder.resolve())}
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(f'{name}/', '/')
    clauses = CLAUSE.split(FOLDERS.sub('', text))
    shown = [clause for clause in clauses if not VARIABLE.search(clause)]
    text = ' '.join(shown).rstrip('.;: ')
    if isinstance(error, ImageError):
        text = f'{text}. {OTHER_FILE}'
    elif offline:
        text = f'{text}. {OFFLINE}'
    elif shown != clauses:
        text = f'{text}. {ASK}' if text else ASK
    return html.escape(text, quote=False)
