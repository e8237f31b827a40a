"""The embedded world: a small consumer world in plain English, generated from a seed.

A model organism, not a picture of the web: it decides by construction what there is to know (which item is cheap) and how people
in it talk and choose. docs/method.md states what that decides about the results.
"""

# Part of the identity of every corpus that this setting writes: change it when a text changes, and only then.
VERSION = 'e5face79695f6d63'
