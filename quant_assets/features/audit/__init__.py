"""The look-ahead audit: a feature set's values of a session must not depend on what became known after its cut, and its
kernel must keep the laws that make a range equal its days.
"""
