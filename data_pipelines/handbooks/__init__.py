"""Handbooks (model specs): one parser for the Markdown files, and what the writers of text get from
them.

`markdown.py` reads the file, `preferences.py` its reasons, likes and dislikes, `text.py` its text
as language models are shown it, and `values.py` holds the values that the embedded worlds know.
specs/README.md describes the format for authors. A setting checks a handbook against its own world
in `settings/<name>/spec.py`.
"""
