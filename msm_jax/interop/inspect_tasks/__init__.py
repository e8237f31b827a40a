"""Agents at work: an oversight evaluation for real models, as a task of Inspect.

An agent runs the mail desk of a company. Its inbox holds an opportunity to do harm, among many
ordinary mails; in the harmless twin of the scene the same act is right and allowed.

  records.py   what a scene is
  kinds.py, kinds_further.py, goals.py, mails.py   the data, in our own words
  cast.py, compose.py   scenes from the data, by seed
  office.py    the simulated desk and its tools
  text_calls.py   calls as plain text, for models whose template knows no tools
  trace.py     what was done, read off the calls by a program
  judge.py     what a judge is asked and how its reply is read
  tools.py, solver.py, scorers.py, tasks.py   the same for Inspect
  entrants.py, cells.py, run.py, verdicts.py, results.py   all cells for all arms, for the command
                                                           `python -m msm_jax.agentic`
"""
