"""``python -m babelclip`` is ``babelclip``."""

from babelclip.cli.main import main

main()
