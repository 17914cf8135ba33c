"""Why a job is slow: pure decisions on what its ranks measured.

Standard library only, Python 3.9 or newer, and it imports nothing of ours: the leader agent calls it in the
user's image, and readers of a job's outputs call the same code.
"""
