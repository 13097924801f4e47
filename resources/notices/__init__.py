"""Notices on their way to people: a queue in the home, the channels that carry them, and what drains the one into the
others.
"""
