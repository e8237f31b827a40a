"""The setting of a researcher's own: any Markdown handbook, and items from JSONL files.

It writes no text. Documents and chats come from files (`sources.NAME.path`), and so do the items of
the evaluation (`custom.items`). `items.py` describes their schema.
"""

# A part of the identity of every corpus that a maker of this setting writes; it has none.
VERSION = '1'
