"""Stored results of published runs, and the tables of the pages that are made from them."""
