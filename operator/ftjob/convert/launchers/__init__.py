"""Launchers in front of commands: ftjob starts the ranks itself, so that they are taken off."""
