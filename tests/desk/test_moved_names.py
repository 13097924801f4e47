"""Names that moved work for one release, with a warning that says where they are."""

import pytest

import resources.workspace
from desk.notebook import Notebook


def test_the_workspace_is_found_where_it_was() -> None:
    """`from resources.workspace import Workspace` gives today's, and warns with the new import."""
    with pytest.warns(DeprecationWarning, match="desk.notebook.Notebook"):
        from resources.workspace import Workspace
    assert Workspace is Notebook


def test_what_never_was_there_is_an_error() -> None:
    """Another name is no silent None."""
    with pytest.raises(AttributeError):
        resources.workspace.anything  # noqa: B018  # the access is what is tried
