"""``ftjob ui``: jobs on a page of this machine, which only looks."""
