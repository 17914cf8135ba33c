"""Real training programs: examples to copy, images to start from, and ftjob's acceptance tests."""
