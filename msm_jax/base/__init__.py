"""What every other part of the project uses and what uses none of them: errors, console, files, checks, paths, commands."""
