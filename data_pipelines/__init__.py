"""Everything that makes the data: handbooks, settings, corpora, and the tools that check them.

`records.py` defines what a document, a chat and a question are. `settings/` holds the embedded
writers, which need no language model; `documents/` and `demonstrations/` have corpora written by
one. `recipes.py` says by which recipe who writes, `corpora.py` stores what they write, `leaks.py`
and `audit/` check it. Nothing here imports from `msm_jax` but `msm_jax.base`.
"""
