"""Gangs: the pods of an attempt are placed all together or not at all. One module per gang scheduler."""
