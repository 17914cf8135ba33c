"""Load images into the cluster's worker nodes: `load.py KIND CLUSTER IMAGE...`.

Prints the images that a node lacked. Only layers that a node does not hold are sent, unlike by `kind load`:
after a change of a workload's code that is kilobytes instead of gigabytes.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CTR = ("ctr", "--namespace", "k8s.io")


class CompressedLayerError(Exception):
    """Docker keeps this image's layers compressed, so their digests say nothing about a node's."""


def run(*command: str) -> str:
    """Return what a program prints; an error of the program ends this one."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def on_node(node: str, *command: str) -> str:
    """Run a program in a node."""
    return run("docker", "exec", node, *command)


def worker_nodes(cluster: str) -> list[str]:
    """Return the names of the workers' containers."""
    filters = (f"label=io.x-k8s.kind.cluster={cluster}", "label=io.x-k8s.kind.role=worker")
    return run("docker", "ps", "--format={{.Names}}", *(f"--filter={f}" for f in filters)).split()


def image_id(image: str) -> str:
    """Return what Docker identifies an image by."""
    return run("docker", "image", "inspect", "--format={{.Id}}", image).strip()


def mark(image: str) -> str:
    """Return the file by which a node remembers what it was sent last under a name.

    A node's own ids will not do: Docker may count an image by its manifest, the node by its configuration.
    """
    return f"/kind/loaded-{image}"


def lacks(node: str, image: str) -> bool:
    """Say whether a node has to be sent an image."""
    sent = on_node(node, "sh", "-c", f"cat {mark(image)} 2>/dev/null || true").strip()
    names = on_node(node, *CTR, "images", "ls", "-q").split()
    return sent != image_id(image) or f"docker.io/library/{image}" not in names


@dataclass(frozen=True)
class Image:
    """One image in an archive of `docker save`."""

    name: str
    config: bytes
    layers: tuple[tuple[str, tarfile.TarInfo], ...]  # digest and place in the archive


def read_images(archive: tarfile.TarFile) -> list[Image]:
    """Read what the archive holds, without its layers."""

    def read(name: str) -> bytes:
        file = archive.extractfile(name)
        assert file is not None, name
        return file.read()

    images = []
    for entry in json.loads(read("manifest.json")):
        config = read(entry["Config"])
        digests = json.loads(config)["rootfs"]["diff_ids"]
        members = [archive.getmember(name) for name in entry["Layers"]]
        # An uncompressed layer is named by its digest; old archives use a random id and never compress.
        if any(
            m.name.startswith("blobs/") and m.name.rpartition("/")[2] != d.partition(":")[2]
            for m, d in zip(members, digests, strict=True)
        ):
            raise CompressedLayerError
        name = f"docker.io/library/{entry['RepoTags'][0]}"
        images.append(Image(name, config, tuple(zip(digests, members, strict=True))))
    return images


def real_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Follow the link by which an archive holds a layer that two images share."""
    if not member.issym():
        return member
    parts: list[str] = []
    for part in (Path(member.name).parent / member.linkname).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return archive.getmember("/".join(parts))


def write_layout(archive: tarfile.TarFile, images: list[Image], held: set[str], out: IO[bytes]) -> None:
    """Write an OCI image layout with all that the node does not hold."""
    written = set(held)
    with tarfile.open(fileobj=out, mode="w|") as layout:

        def add(name: str, size: int, content: IO[bytes]) -> None:
            info = tarfile.TarInfo(name)
            info.size = size
            layout.addfile(info, content)

        def blob(media_type: str, data: bytes) -> dict[str, Any]:
            digest = hashlib.sha256(data).hexdigest()
            add(f"blobs/sha256/{digest}", len(data), io.BytesIO(data))
            return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

        manifests = []
        for image in images:
            layers = []
            for digest, member in image.layers:
                real = real_member(archive, member)
                layers.append({"mediaType": LAYER, "digest": digest, "size": real.size})
                if digest in written:
                    continue
                written.add(digest)
                content = archive.extractfile(real)
                assert content is not None, real.name
                add(f"blobs/sha256/{digest.partition(':')[2]}", real.size, content)
            manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob(CONFIG, image.config)}
            descriptor = blob(MANIFEST, json.dumps(manifest | {"layers": layers}).encode())
            manifests.append(descriptor | {"annotations": {"io.containerd.image.name": image.name}})
        for name, document in (
            ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
            ("index.json", {"schemaVersion": 2, "manifests": manifests}),
        ):
            data = json.dumps(document).encode()
            add(name, len(data), io.BytesIO(data))


def load(nodes: list[str], images: list[str]) -> None:
    """Send the images to the nodes."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "images.tar"
        run("docker", "save", f"--output={saved}", *images)
        with tarfile.open(saved) as archive:
            found = read_images(archive)
            for node in nodes:
                held = set(on_node(node, *CTR, "content", "ls", "-q").split())
                command = [
                    "docker",
                    "exec",
                    "-i",
                    node,
                    *CTR,
                    "images",
                    "import",
                    "--all-platforms",
                    "--digests",
                    "-",
                ]
                with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sys.stderr) as importer:
                    assert importer.stdin is not None
                    write_layout(archive, found, held, importer.stdin)
                if importer.returncode:
                    message = f"could not load images into node {node}"
                    raise SystemExit(message)


def forget_old(node: str) -> None:
    """Drop images that were loaded before under the same names; running containers keep what they use."""
    rows = [line.split() for line in on_node(node, *CTR, "images", "ls").splitlines()[1:]]
    by_id = {name: digest for name, _type, digest, *_ in rows if name.startswith(("sha256:", "import-"))}
    named = {digest for name, _type, digest, *_ in rows if name not in by_id}
    old = [name for name, digest in by_id.items() if digest not in named]
    if old:
        on_node(node, *CTR, "images", "rm", *old)


def main(kind: str, cluster: str, *images: str) -> None:
    """Load what is lacking."""
    nodes = worker_nodes(cluster)
    missing = [image for image in images if any(lacks(node, image) for node in nodes)]
    if not missing:
        return
    try:
        load(nodes, missing)
    except CompressedLayerError:
        run(kind, "load", "docker-image", f"--name={cluster}", f"--nodes={','.join(nodes)}", *missing)
    for node in nodes:
        for image in missing:
            on_node(node, "sh", "-c", f"echo {image_id(image)} >{mark(image)}")
        forget_old(node)
    print(*missing, sep="\n")


main(*sys.argv[1:])
