"""What an experiment asks of its arms and how its report looks: one module per setting.

`suite.py` says what a suite is, `registry.py` lists them. The phases, intervals, gates and tables
are the same for all settings.
"""
