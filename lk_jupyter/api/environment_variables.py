"""Secrets in the environment of runs (``/environment-variables``)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lk_jupyter.api._endpoint import DELETE, GET, POST, Group
from lk_jupyter.api._models import Items, Listing, Message, Model, unless_null


class EnvironmentVariable(Model):
    """A variable with a masked value."""

    name: str
    id: Annotated[str, unless_null(""), Field(coerce_numbers_to_str=True)] = ""
    value: str | None = Field(None, repr=False, description="Masked for secrets.")
    is_secret: bool | None = None
    created_at: str | None = None
    updated_at: str | None = None


class EnvironmentVariableList(Listing[EnvironmentVariable]):
    """The variables of the caller, without their values."""

    _key = "environment_variables"
    environment_variables: Items[EnvironmentVariable]


class EnvironmentVariableInput(Model):
    """A variable to create or replace."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    value: str = Field(repr=False, description="The server encrypts the value. Use short values.")
    is_secret: bool | None = None


class EnvironmentVariableBatch(Model):
    """Several variables with different names."""

    environment_variables: list[EnvironmentVariableInput]


class EnvironmentVariables(Group):
    """Variables that every run of the organization finds in its environment.

    Example:
        >>> from lk_jupyter.api.environment_variables import EnvironmentVariableInput
        >>> listed = other.environment_variables.upsert(EnvironmentVariableInput(name="HF_TOKEN", value=secret))
        >>> [row.name for row in other.environment_variables.list()]
        ['HF_TOKEN']
        >>> _ = other.environment_variables.delete(listed[0].id)
        >>> _ = other.environment_variables.delete_all()
    """

    is_audited = True

    @GET("/environment-variables/", magic="%lk_secrets list")
    def list(self) -> EnvironmentVariableList:
        """List the variables, without their values."""
        ...

    @POST("/environment-variables/", effect="writes", repeatable=True, magic="%lk_secrets set")
    def upsert(self, body: EnvironmentVariableBatch | EnvironmentVariableInput) -> EnvironmentVariableList:
        """Create or replace variables by name, and return all variables.

        Raises BadRequest or Invalid for a bad or repeated name; then nothing is changed.
        """
        ...

    @DELETE("/environment-variables/", magic="%lk_secrets delete")
    def delete_all(self) -> Message | None:
        """Delete every variable."""
        ...

    @DELETE("/environment-variables/{env_var_id}", magic="%lk_secrets delete")
    def delete(self, env_var_id: str) -> Message | None:
        """Delete a variable by id. Raises NotFound."""
        ...
