"""Documents for midtraining, written by a language model: plan, drafts, revisions, balance."""
