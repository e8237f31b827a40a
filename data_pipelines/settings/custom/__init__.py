"""The setting of a researcher's own: any Markdown handbook, and items from JSONL files.

Documents and chats come from files (`sources.NAME.path`), and so do the items of the evaluation
(`custom.items`). `items.py` describes their schema. For the English handbooks about oversight there
are writers too (`setting.py`).
"""

# A part of the identity of every corpus that a maker of this setting writes: change it when a text
# of settings/english/oversight* changes, and only then. Changed last when sentences and scenes were
# mended after a reading of many texts.
VERSION = '4'
