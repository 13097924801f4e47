"""The look-ahead audit: what a feature set says of a session must not change with what became known after its cut, and
its kernel must keep the laws that a range rests on.
"""
