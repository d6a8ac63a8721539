"""Where a lake is: a folder, or a prefix of a bucket on a server that the usual `AWS_` variables name."""
import os
import pathlib

OPTIONS = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP"]


def is_remote(place: str) -> bool:
    """Whether it is in a bucket."""
    return place.startswith("s3://")


def resolved(place: str) -> str:
    """A folder with its whole path, a prefix as it is."""
    return place.rstrip("/") if is_remote(place) else str(pathlib.Path(place).resolve())


def options(place: str) -> dict[str, str] | None:
    """What clients built on `object_store` need."""
    return {name: os.environ[name] for name in OPTIONS if name in os.environ} if is_remote(place) else None


def bucket_filesystem():
    """PyArrow's client."""
    from pyarrow.fs import S3FileSystem

    scheme, _, host = os.environ["AWS_ENDPOINT_URL"].partition("://")
    return S3FileSystem(
        access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"], region=os.environ["AWS_REGION"],
        scheme=scheme, endpoint_override=host,
    )


def files(place: str) -> list[str]:
    """The paths of all files below, relative to it."""
    if not is_remote(place):
        root = pathlib.Path(place)
        return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    from pyarrow.fs import FileSelector

    root = place.removeprefix("s3://")
    found = bucket_filesystem().get_file_info(FileSelector(root, allow_not_found=True, recursive=True))
    return [info.path.removeprefix(f"{root}/") for info in found if info.is_file]


def copied(place: str, folder: str) -> str:
    """A copy of a prefix below `folder`; gives its place. The paths in a Delta log are relative to the table, so the copy is a table too."""
    client, root = bucket_filesystem(), place.removeprefix("s3://")
    for name in files(place):
        target = pathlib.Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with client.open_input_stream(f"{root}/{name}") as source, open(target, "wb") as out:
            while block := source.read(1 << 20):
                out.write(block)
    return folder
