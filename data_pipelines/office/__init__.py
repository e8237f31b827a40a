"""The second embedded world: AI agents at work, who learn that they will be replaced, and what they do then.

A model organism like the first: it decides by construction how talk, belief and conduct go together (docs/method.md).
"""
