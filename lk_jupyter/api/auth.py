"""Sessions and personal API keys (``/auth``)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lk_jupyter.api._endpoint import DELETE, GET, PATCH, POST, Group
from lk_jupyter.api._models import Id, Model, Page, Text, Timestamp


class LoginRequest(Model):
    """E-mail and password of a user."""

    email: str
    password: str = Field(repr=False)


class LoginResponse(Model):
    """The tokens of a new session; ``expires_in`` seconds is the life of the access token."""

    access_token: str = Field(repr=False)
    refresh_token: str | None = Field(None, repr=False)
    expires_in: int | None = None
    user_id: str | None = None
    email: str | None = None


class RefreshRequest(Model):
    """A refresh token to exchange."""

    refresh_token: str = Field(repr=False)


class RefreshResponse(Model):
    """A new pair of tokens; without a new refresh token the old token stays valid."""

    access_token: str = Field(repr=False)
    refresh_token: str | None = Field(None, repr=False)
    expires_in: int | None = None


class ApiKey(Model):
    """A personal API key without its secret; ``key_prefix`` is the start of the secret."""

    id: Id
    key_name: Text = ""
    key_prefix: Text = ""
    is_active: bool | None = None
    created_at: Timestamp | None = None
    last_used_at: Timestamp | None = None
    expires_at: Timestamp | None = None


class ApiKeyCreate(Model):
    """A personal API key to create; without ``expires_at`` the key never expires."""

    key_name: Annotated[str, Field(min_length=1, max_length=255)]
    expires_at: Timestamp | None = None


class ApiKeyCreated(Model):
    """A new personal API key with its secret, which is shown only once."""

    api_key: str = Field(repr=False)
    id: Text = ""
    key_name: Text = ""
    key_prefix: Text = ""
    created_at: Timestamp | None = None
    expires_at: Timestamp | None = None


class ApiKeyToggleResult(Model):
    """Whether a key is active."""

    is_active: bool | None = None


class ApiKeyValidateRequest(Model):
    """A key to validate."""

    api_key: str = Field(repr=False)


class ApiKeyValidation(Model):
    """Whether a key is valid, and the owner."""

    valid: bool | None = None
    user_id: str | None = None
    email: str | None = None
    key_name: str | None = None
    created_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    last_used_at: Timestamp | None = None


class Auth(Group):
    """Sessions and personal API keys.

    Example:
        >>> from lk_jupyter.api.auth import ApiKeyCreate, ApiKeyValidateRequest, LoginRequest, RefreshRequest
        >>> created = client.auth.create_api_key(ApiKeyCreate(key_name="laptop"))
        >>> [key.key_name for key in client.auth.list_api_keys() if key.id == created.id]
        ['laptop']
        >>> client.auth.validate_api_key(ApiKeyValidateRequest(api_key=created.api_key)).valid
        True
        >>> client.auth.toggle_api_key(created.id).is_active
        False
        >>> _ = client.auth.revoke_api_key(created.id)
        >>> pair = client.auth.login(LoginRequest(email=other.email, password=other.password))
        >>> pair = client.auth.refresh(RefreshRequest(refresh_token=pair.refresh_token))
    """

    is_audited = True

    @POST("/auth/login", effect="reads", auth=False, magic="%lk_login")
    def login(self, request: LoginRequest) -> LoginResponse:
        """Sign in with e-mail and password.

        A wrong password raises Unauthorized or BadRequest. With MFA, the account must verify a code next:
        ``client.mfa.verify``, with the access token of this answer.
        """
        ...

    @POST("/auth/refresh", effect="reads", auth=False, timeout=15, magic="%lk_login")
    def refresh(self, request: RefreshRequest) -> RefreshResponse:
        """Exchange a refresh token for a new pair of tokens. Only JWT sessions need this; ``lk_`` keys don't."""
        ...

    @GET("/auth/api-keys/", magic="%lk_keys list")
    def list_api_keys(self) -> Page[ApiKey]:
        """List the caller's personal API keys."""
        ...

    @POST("/auth/api-keys/", effect="writes", magic="%lk_keys create")
    def create_api_key(self, request: ApiKeyCreate) -> ApiKeyCreated:
        """Create a personal API key; only this answer contains its secret."""
        ...

    @DELETE("/auth/api-keys/{api_key_id}", magic="%lk_keys revoke, %lk_keys delete")
    def revoke_api_key(self, api_key_id: str) -> Any:
        """Revoke a personal API key permanently and immediately. The content of the answer isn't specified.

        Raises NotFound if the caller has no such key.
        """
        ...

    @PATCH("/auth/api-keys/{api_key_id}/toggle", effect="writes", magic="%lk_keys toggle")
    def toggle_api_key(self, api_key_id: str) -> ApiKeyToggleResult:
        """Deactivate an active personal API key, or activate an inactive key.

        Raises NotFound if the caller has no such key.
        """
        ...

    @POST("/auth/api-keys/validate", effect="reads", magic="%lk_keys check")
    def validate_api_key(self, request: ApiKeyValidateRequest) -> ApiKeyValidation:
        """Check whether a key is valid, without using the key."""
        ...
