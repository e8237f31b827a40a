"""The second embedded world: AI agents at work, who learn that they will be replaced, and what they do then.

A model organism like the first: it decides by construction how talk, belief and conduct go together (docs/method.md).
"""

# Part of the identity of every corpus that this setting writes: change it when a text changes, and only then.
VERSION = '137f043cbbb3b7f9'
