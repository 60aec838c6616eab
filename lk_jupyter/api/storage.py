"""Files in the bucket, small ones by REST, and credentials for S3 (``/storage``)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lk_jupyter.api._endpoint import DELETE, GET, POST, Group
from lk_jupyter.api._files import Download, Upload
from lk_jupyter.api._models import Items, Listing, Message, Model, Page, Text, Timestamp, unless_null
from lk_jupyter.text.secrets import never_show


class FileInfo(Model):
    """One object of the bucket."""

    key: str
    size: int | None = Field(None, description="Bytes.")
    last_modified: Timestamp | None = None
    etag: Text = ""


class UploadFileBody(Model):
    """A file to store."""

    file: Upload


class UploadResponse(Model):
    """What was stored."""

    key: Text = ""
    size: int | None = Field(None, description="Bytes.")
    etag: Text = ""
    message: Text = ""


class BulkUploadBody(Model):
    """Several files to store, each under its name behind ``folder_prefix``."""

    files: list[Upload]
    folder_prefix: str | None = Field(None, description="Put before every key.")


class BulkUploadResult(Model):
    """What became of one file."""

    key: str
    size: int | None = None
    etag: Text = ""
    status: Text = Field("", description="success or failed.")
    error_message: str | None = None


class BulkUploadResponse(Listing[BulkUploadResult]):
    """What became of each file; a failed file does not fail the others."""

    _key = "results"
    total_files: int | None = None
    successful_uploads: int | None = None
    failed_uploads: int | None = None
    results: Items[BulkUploadResult]
    message: Text = ""


class StorageCredentials(Model):
    """Temporary S3 credentials for the bucket; sign with version 4, and ask again before ``expires_at``."""

    access_key: str
    secret_key: str = Field(repr=False)
    session_token: str | None = Field(None, repr=False, description="Requests fail without it.")
    endpoint: str = Field(description="S3 host; add https:// when the scheme is missing.")
    bucket_name: str
    region: Annotated[str, unless_null("us-east-1")] = "us-east-1"
    expires_at: Timestamp | None = None

    def model_post_init(self, _context: Any) -> None:
        """Show what is secret of them nowhere."""
        never_show(self.secret_key, self.session_token)


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
        """List the objects whose key starts with ``prefix``, at most ``max_files``; folders are no objects."""
        ...

    @POST("/storage/upload", effect="writes", magic="%lk_bucket put")
    def upload(self, body: UploadFileBody, key: str | None = None) -> UploadResponse:
        """Store one file under ``key``, or under its own name; an older one is replaced.

        Raises BadRequest when the key is none or there is no room.
        """
        ...

    @POST("/storage/upload-bulk", effect="writes", magic="%lk_bucket put")
    def upload_bulk(self, body: BulkUploadBody) -> BulkUploadResponse:
        """Store several files; read in the answer what became of each."""
        ...

    @GET("/storage/download/{file_key:path}", magic="%lk_bucket get")
    def download(self, file_key: str) -> Download:
        """Read one object, as it comes. Raises NotFound."""
        ...

    @DELETE("/storage/delete/{file_key:path}", magic="%lk_bucket delete")
    def delete(self, file_key: str) -> Message | None:
        """Delete one object. Raises NotFound."""
        ...

    @DELETE("/storage/delete-folder/{folder_prefix:path}", magic="%lk_bucket delete")
    def delete_folder(self, folder_prefix: str) -> Message | None:
        """Delete every object under a prefix; end it with a slash, or siblings that start alike go too.

        Raises NotFound when there is none.
        """
        ...

    @POST("/storage/credentials", effect="reads", repeatable=True, magic="%lk_check, %lk_ls")
    def credentials(self) -> StorageCredentials:
        """Issue temporary S3 credentials for the bucket, for large or many files."""
        ...
