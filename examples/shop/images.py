"""Makes the example's image without a registry: BusyBox, the example's script and a page, imported as one layer.

:func:`ensure_image` is what `overseer quickstart` uses. As a program (`python examples/shop/images.py`) this file
prints the image's name, or says on stderr why there can be none and ends with 69 (EX_UNAVAILABLE of sysexits.h).

BusyBox has to be linked statically, because nothing else is in the image. It is looked for on this machine first;
then Debian's package manager is asked for the file of the package `busybox-static`, which is unpacked, not installed.
No other source is asked.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

IMAGE = "overseer-example/shop:1"
EX_UNAVAILABLE = 69
HERE = Path(__file__).resolve().parent
LABEL = "example.overseer.content"
PACKAGE = "busybox-static"
PLACES = ("/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static", "/bin/busybox-static", "/usr/bin/busybox-static")
PT_INTERP = 3  # ELF: the program header that names a dynamic loader
APPLETS = """
[ cat cp cut date dd df du echo env false find grep head hexdump hostname httpd id ifconfig ip kill ln ls mkdir mount mv nc
netstat nslookup od ping printf ps pwd readlink realpath rm sed seq sh sha256sum sleep sort stat sync tail tee test timeout
touch tr true tty umount uname uniq wc wget whoami xargs
"""


class ImageUnavailable(Exception):
    """The image cannot be made here; the message says why and what would help."""


def ensure_image(docker: list[str]) -> str:
    """The name of the example's image, which the engine has afterwards; made anew if the example has changed.

    ``docker`` is the command that reaches the engine, such as ``["docker"]``. Raises :class:`ImageUnavailable`.
    """
    files = {"bin/shop": (HERE / "shop.sh").read_bytes(), "srv/index.html": (HERE / "index.html").read_bytes()}
    digest = hashlib.sha256(Path(__file__).read_bytes() + b"".join(files.values())).hexdigest()
    asked = ["image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', IMAGE]
    try:
        known = subprocess.run([*docker, *asked], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ImageUnavailable(f"there is no {docker[0]} command on this machine") from None
    if known.returncode == 0 and known.stdout.strip() == digest:
        return IMAGE
    changes = [f"LABEL {LABEL}={digest}", "ENV PATH=/bin", 'CMD ["sh"]']
    options = [part for change in changes for part in ("--change", change)]
    archive = _root_filesystem(_busybox(), files)
    made = subprocess.run([*docker, "import", *options, "-", IMAGE], input=archive, capture_output=True, check=False)
    if made.returncode:
        raise ImageUnavailable(f"Docker did not take the image: {made.stderr.decode(errors='replace').strip()}")
    return IMAGE


def _root_filesystem(program: bytes, files: dict[str, bytes]) -> bytes:
    """A tar archive, the same for the same input, of everything that the image holds."""
    accounts = {
        "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nshop:x:1000:1000:shop:/:/bin/sh\n",
        "etc/group": b"root:x:0:\nshop:x:1000:\n",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for directory, mode in {"bin": 0o755, "etc": 0o755, "run": 0o755, "srv": 0o755, "tmp": 0o1777}.items():
            archive.addfile(_entry(directory, tarfile.DIRTYPE, mode))
        for name, content in {"bin/busybox": program, **accounts, **files}.items():
            entry = _entry(name, tarfile.REGTYPE, 0o755 if name.startswith("bin/") else 0o644)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for applet in APPLETS.split():
            entry = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            entry.linkname = "busybox"
            archive.addfile(entry)
    return buffer.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _busybox() -> bytes:
    """The bytes of a statically linked BusyBox. Raises :class:`ImageUnavailable`."""
    found = shutil.which("busybox")
    for place in [*([found] if found else []), *PLACES]:
        path = Path(place)
        if path.is_file() and _is_static(content := path.read_bytes()):
            return content
    return _from_package()


def _is_static(content: bytes) -> bool:
    """Whether this is a 64-bit little-endian ELF program that names no dynamic loader (ELF-64 Object File Format 1.5)."""
    if content[:6] != b"\x7fELF\x02\x01":
        return False
    offset, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    return all(struct.unpack_from("<I", content, offset + n * size)[0] != PT_INTERP for n in range(count))


def _from_package() -> bytes:
    if shutil.which("apt-get") is None:
        raise ImageUnavailable(f"no static BusyBox on this machine; install the package {PACKAGE} or its like")
    with tempfile.TemporaryDirectory() as place:
        download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", PACKAGE]
        # Without lists of packages a download finds nothing; fetching them needs root, so it is only tried.
        if not _runs(download, place):
            _runs(["apt-get", "-qq", "update"], place)
            if not _runs(download, place):
                raise ImageUnavailable(f"no static BusyBox on this machine, and apt-get could not fetch {PACKAGE}")
        return _member(next(Path(place).glob("*.deb")).read_bytes(), "bin/busybox")


def _runs(command: list[str], directory: str) -> bool:
    try:
        return subprocess.run(command, cwd=directory, capture_output=True, check=False, timeout=120).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _member(package: bytes, name: str) -> bytes:
    """One file of a Debian package (deb(5): an ar archive whose `data.tar.*` holds the files)."""
    offset = 8
    while offset < len(package):
        member, length = package[offset : offset + 16].decode().strip(), int(package[offset + 48 : offset + 58])
        if member.rstrip("/") == "data.tar.xz":
            data = lzma.decompress(package[offset + 60 : offset + 60 + length])
            with tarfile.open(fileobj=io.BytesIO(data)) as files:
                for entry in files:
                    if entry.isfile() and entry.name.endswith("/" + name):
                        content = files.extractfile(entry)
                        return content.read() if content else b""
        offset += 60 + length + length % 2  # members start at even offsets
    raise ImageUnavailable(f"the package {PACKAGE} holds no {name}")


def main() -> int:
    """Make the image in the engine that ``docker`` reaches; returns 0 or :data:`EX_UNAVAILABLE`."""
    try:
        print(ensure_image(["docker"]))
    except ImageUnavailable as reason:
        print(f"no image for the example: {reason}", file=sys.stderr)
        return EX_UNAVAILABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
