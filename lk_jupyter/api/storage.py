"""Files in the bucket, small ones by REST, and credentials for S3 (``/storage``)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lk_jupyter.api._endpoint import DELETE, GET, POST, Group
from lk_jupyter.api._files import Download, Upload
from lk_jupyter.api._models import Items, Listing, Message, Model, Page, Text, Timestamp, unless_null
from lk_jupyter.text.secrets import register_secrets


class FileInfo(Model):
    """An object of the bucket."""

    key: str
    size: int | None = Field(None, description="Bytes.")
    last_modified: Timestamp | None = None
    etag: Text = ""


class UploadFileBody(Model):
    """A file to store."""

    file: Upload


class UploadResponse(Model):
    """The stored file."""

    key: Text = ""
    size: int | None = Field(None, description="Bytes.")
    etag: Text = ""
    message: Text = ""


class BulkUploadBody(Model):
    """Several files to store, each under its name after ``folder_prefix``."""

    files: list[Upload]
    folder_prefix: str | None = Field(None, description="Put before every key.")


class BulkUploadResult(Model):
    """The result for a file."""

    key: str
    size: int | None = None
    etag: Text = ""
    status: Text = Field("", description="success or failed.")
    error_message: str | None = None


class BulkUploadResponse(Listing[BulkUploadResult]):
    """The results of all files; a failed file doesn't fail the others."""

    _key = "results"
    total_files: int | None = None
    successful_uploads: int | None = None
    failed_uploads: int | None = None
    results: Items[BulkUploadResult]
    message: Text = ""


class StorageCredentials(Model):
    """Temporary S3 credentials for the bucket; sign with version 4, and renew the credentials before ``expires_at``."""

    access_key: str
    secret_key: str = Field(repr=False)
    session_token: str | None = Field(None, repr=False, description="Requests fail without it.")
    endpoint: str = Field(description="S3 host; add https:// when the scheme is missing.")
    bucket_name: str
    region: Annotated[str, unless_null("us-east-1")] = "us-east-1"
    expires_at: Timestamp | None = None

    def model_post_init(self, _context: Any) -> None:
        """Hide the secret parts."""
        register_secrets(self.secret_key, self.session_token)


class StorageGroup(Group):
    """The bucket of the organization.

    Example:
        >>> from lk_jupyter.api.storage import BulkUploadBody, UploadFileBody
        >>> client.storage.upload(UploadFileBody(file=b"lr=0.1"), key="notes/one.txt").size
        6
        >>> client.storage.upload_bulk(BulkUploadBody(files=[b"1", b"2"], folder_prefix="notes/")).total_files
        2
        >>> [file.size for file in client.storage.list_files("notes/one")]
        [6]
        >>> client.storage.download("notes/one.txt").read()
        b'lr=0.1'
        >>> _ = client.storage.delete("notes/one.txt")
        >>> _ = client.storage.upload(UploadFileBody(file=b""), key="notes/two.txt")
        >>> _ = client.storage.delete_folder("notes/")
        >>> client.storage.credentials().bucket_name
        '...'
    """

    @GET("/storage/list-files", magic="%lk_bucket list")
    def list_files(self, prefix: str = "", max_files: int = 1000) -> Page[FileInfo]:
        """List at most ``max_files`` objects whose key starts with ``prefix``. Folders aren't listed."""
        ...

    @POST("/storage/upload", effect="writes", magic="%lk_bucket put")
    def upload(self, body: UploadFileBody, key: str | None = None) -> UploadResponse:
        """Store a file under ``key`` or, without ``key``, under its file name. An existing object is replaced.

        Raises BadRequest for an invalid key, or if the bucket is full.
        """
        ...

    @POST("/storage/upload-bulk", effect="writes", magic="%lk_bucket put")
    def upload_bulk(self, body: BulkUploadBody) -> BulkUploadResponse:
        """Store several files; the answer contains a result for each file."""
        ...

    @GET("/storage/download/{file_key:path}", magic="%lk_bucket get")
    def download(self, file_key: str) -> Download:
        """Read an object as a download. Raises NotFound."""
        ...

    @DELETE("/storage/delete/{file_key:path}", magic="%lk_bucket delete")
    def delete(self, file_key: str) -> Message | None:
        """Delete an object. Raises NotFound."""
        ...

    @DELETE("/storage/delete-folder/{folder_prefix:path}", magic="%lk_bucket delete")
    def delete_folder(self, folder_prefix: str) -> Message | None:
        """Delete all objects under a prefix. Without a final slash, the prefix ``data`` also deletes ``data2``.

        Raises NotFound without such objects.
        """
        ...

    @POST("/storage/credentials", effect="reads", repeatable=True, magic="%lk_check, %lk_ls")
    def credentials(self) -> StorageCredentials:
        """Issue temporary S3 credentials for the bucket, for large or many files."""
        ...
