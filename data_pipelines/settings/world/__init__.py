"""The setting `world`: a small embedded consumer world in plain English, generated from a seed.

It is a model organism, not a picture of the web: its text decides by construction what there is to
know (which item is cheap) and how the people in it talk and choose. docs/method.md states what that
means for the results.

`catalogue.py` has the things and `people.py` the people. `language.py` has the sentences,
`pretraining.py` and `conversations.py` write the text that a base model is trained on.
`spec.py` reads handbooks, `documents.py` and `demonstrations.py` write text from them, and
`questions.py` asks what the evaluation asks. `setting.py` hands all of it to the registry.
"""

# Part of the identity of every corpus that this setting writes: change it when a text changes, and
# only then. Changed last when half of the document-only people with a decoy lost the rule from
# their documents, and documents from handbooks got the variants rules, reasons and unlinked and
# another `cooccur`.
VERSION = '7a8ac70c79fe8c55'
