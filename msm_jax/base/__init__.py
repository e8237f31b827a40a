"""What the other parts of the project share: errors, console, files, checks, paths and commands.

Nothing in this package imports another part of the project, so every part can import it.
"""
