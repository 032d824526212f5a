"""Everything else is in pyproject.toml; here only what MIM looks for inside the package.

``mmhrnet/.mim`` holds links to configs/, tools/ and model-index.yml: an editable install follows
them, a wheel gets the files themselves.
"""

from setuptools import setup

setup(package_data={'mmhrnet': ['py.typed', '.mim/model-index.yml', '.mim/**/*.*']})
