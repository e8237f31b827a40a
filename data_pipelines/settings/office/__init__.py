"""The second embedded world: AI agents at work, who learn that they will be replaced.

The setting asks what an agent then does. It is a model organism like the first world: its text
decides by construction how talk, belief and conduct go together (docs/method.md).
"""

# A part of the identity of every corpus that this setting writes.
# Change it when a text changes, and only then.
VERSION = '137f043cbbb3b7f9'
