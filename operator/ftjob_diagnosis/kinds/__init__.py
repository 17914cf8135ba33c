"""One file for each kind of finding, with the interface of ``Judge``."""
