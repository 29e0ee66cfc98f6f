"""Takes an image, as `docker save` and archive.py write it, to a registry, without Docker.

    publish.py ARCHIVE REGISTRY NAME TAG      REGISTRY: host:port, which asks for no login
"""
import hashlib
import http.client
import json
import sys
import tarfile

archive, registry, name, tag = sys.argv[1:]


def ask(method, path, body=b"", kind="application/octet-stream"):
    connection = http.client.HTTPConnection(registry)
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    answer.read()
    if answer.status >= 300:
        sys.exit(f"{method} {path}: {answer.status} {answer.reason}")
    return answer


def push(data, kind):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    place = ask("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
    path = place.split(registry, 1)[-1]
    ask("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", data)
    return {"mediaType": kind, "size": len(data), "digest": digest}


with tarfile.open(archive) as tar:
    read = lambda path: tar.extractfile(path).read()
    made = json.loads(read("manifest.json"))[0]
    docker = "application/vnd.docker"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{docker}.distribution.manifest.v2+json",
        "config": push(read(made["Config"]), f"{docker}.container.image.v1+json"),
        "layers": [push(read(layer), f"{docker}.image.rootfs.diff.tar") for layer in made["Layers"]],
    }
ask("PUT", f"/v2/{name}/manifests/{tag}", json.dumps(manifest).encode(), manifest["mediaType"])
