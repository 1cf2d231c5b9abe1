"""Boundary to the OCI image layout: the image as an engine would make it, for a real node to run.

This machine's Python and just the libraries that it and the packages need stand in for the base image's. Image layout
and manifest: OCI Image Specification 1.1.
"""

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster.images import ARCHITECTURES
from tests.container.image import Image

MEDIA = "application/vnd.oci.image"


def write(image: Image, name: str, file: Path) -> None:
    """Write the image under this name into a tar file that containerd imports."""
    folder = image.folder / "oci"
    rootfs, blobs = folder / "rootfs", folder / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    _fill(image, rootfs)
    layer = folder / "layer.tar"
    _tar(layer, rootfs)
    digest = hashlib.sha256()
    with layer.open("rb") as opened:
        while part := opened.read(2**20):
            digest.update(part)
    size = layer.stat().st_size
    layer.rename(blobs / digest.hexdigest())

    def blob(kind: str, value: Any) -> dict[str, Any]:
        data = json.dumps(value).encode()
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}

    config = blob(
        f"{MEDIA}.config.v1+json",
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {
                "User": image.of("USER").value,
                "WorkingDir": image.of("WORKDIR").value,
                "Env": image.environment(),
                "Entrypoint": image.of("ENTRYPOINT").words(),
                "Cmd": image.of("CMD").words(),
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.hexdigest()}"]},
        },
    )
    layers = [{"mediaType": f"{MEDIA}.layer.v1.tar", "digest": f"sha256:{digest.hexdigest()}", "size": size}]
    parts = {"schemaVersion": 2, "mediaType": f"{MEDIA}.manifest.v1+json", "config": config, "layers": layers}
    manifest = blob(f"{MEDIA}.manifest.v1+json", parts) | {"annotations": {"io.containerd.image.name": name}}
    index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": [manifest]}
    (folder / "layout/index.json").write_text(json.dumps(index))
    (folder / "layout/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    _tar(file, folder / "layout")
    shutil.rmtree(folder)


def _fill(image: Image, rootfs: Path) -> None:
    """Copy what runs to where it says that it is; nothing else, and so no shell."""
    python = Path(sys.executable).resolve()
    library = Path(sys.base_prefix) / f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    unneeded = shutil.ignore_patterns("test", "idlelib", "tkinter", "lib2to3", "site-packages", "config-*")
    for source, ignored in ((image.gateway, None), (library, unneeded)):
        shutil.copytree(source, rootfs / source.relative_to("/"), symlinks=True, ignore=ignored)
    for folder in ("usr/lib", "usr/lib64", "usr/bin", "etc", "proc", "dev", "sys"):
        (rootfs / folder).mkdir(parents=True, exist_ok=True)
    for link, target in (("lib", "usr/lib"), ("lib64", "usr/lib64"), ("opt/gateway", image.gateway)):
        (rootfs / link).parent.mkdir(exist_ok=True)
        (rootfs / link).symlink_to(target)
    loaded = [python, *image.gateway.rglob("*.so"), *library.rglob("*.so")]
    for file in {python, *_libraries(loaded)}:
        copy = rootfs / file.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)


def _libraries(files: Iterable[Path]) -> Iterator[Path]:
    """Return the shared libraries that these files load, and what loads them."""
    told = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    for path in set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", told, re.MULTILINE)):
        yield Path(path)


def _tar(file: Path, folder: Path) -> None:
    command = ["tar", "--create", f"--file={file}", f"--directory={folder}", "--owner=0", "--group=0", "."]
    subprocess.run(command, check=True)
