"""Checks the files of the deployment as far as a machine without Docker and Kubernetes can."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

COMPOSE: Final = "docker-compose.temporal.yml"
DOCKERFILE: Final = "deploy/Dockerfile"
KUBERNETES: Final = "deploy/kubernetes"
OWN_IMAGE: Final = "agent-orchestrator"

_VARIABLE: Final = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_EXACT_TAG: Final = re.compile(r"v?\d+\.\d+(?:\.\d+)?(?:[-.][a-z0-9.-]+)?")


def load(path: Path) -> Any:
    """Read a YAML file, merge keys resolved; a key given twice is an error."""
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def texts(node: Any) -> Iterator[str]:
    """Yield every string in a document."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)


def undefined_variables(compose: Any, env_example: str) -> list[str]:
    """Name every `${VAR}` without a default or a message that the example file does not define."""
    defined = {line.partition("=")[0].strip() for line in env_example.splitlines() if re.match(r"\w+=", line)}
    problems = []
    for text in texts(compose):
        for escaped, name, operator, bare in _VARIABLE.findall(text):
            wanted = name or bare
            if escaped or operator.startswith((":-", "-", ":?", "?")) or wanted in defined:
                continue
            problems.append(f"${{{wanted}}} has neither a default nor a line in .env.example")
    return problems


def undocumented_variables(compose: Any, env_example: str) -> list[str]:
    """Name every variable that the example file does not even mention in a comment."""
    mentioned = set(re.findall(r"^(?:# )?(\w+)=", env_example, re.MULTILINE))
    used = {
        name or bare for text in texts(compose) for escaped, name, _, bare in _VARIABLE.findall(text) if not escaped
    }
    return [f"${{{name}}} is not explained in .env.example" for name in sorted(used - mentioned)]


def unpinned_image(image: str) -> str | None:
    """Say what is wrong with an image's reference: it must name one version, not a moving tag."""
    name, colon, tag = image.partition("@")[0].rpartition(":")
    if not colon or "/" in tag:
        return f"{image} has no tag"
    if not _EXACT_TAG.fullmatch(tag):
        return f"{name} is pinned to {tag!r}, which moves; name an exact version"
    return None


def service_problems(name: str, service: dict[str, Any], everyone: dict[str, Any]) -> Iterator[str]:
    """Yield what one service lacks."""
    if "image" not in service:
        yield f"{name}: no image"
    elif (problem := unpinned_image(service["image"])) is not None:
        yield f"{name}: {problem}"
    if not service.get("restart"):
        yield f"{name}: no restart policy"
    is_job = str(service.get("restart", "")).startswith("on-failure")
    if not is_job and not service.get("healthcheck", {}).get("test"):
        yield f"{name}: no healthcheck"
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"{name}: port {port} is published on every interface"
    yield from _dependency_problems(name, service, everyone)


def _dependency_problems(name: str, service: dict[str, Any], everyone: dict[str, Any]) -> Iterator[str]:
    for other, how in service.get("depends_on", {}).items():
        if other not in everyone:
            yield f"{name}: depends on {other}, which is not there"
            continue
        is_job = str(everyone[other].get("restart", "")).startswith("on-failure")
        wanted = "service_completed_successfully" if is_job else "service_healthy"
        if how.get("condition") != wanted:
            yield f"{name}: waits for {other} by {how.get('condition')}, not {wanted}"


def volume_problems(compose: Any, root: Path) -> Iterator[str]:
    """Yield mounts whose source is neither a file of ours nor a named volume."""
    named = compose.get("volumes", {})
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                if not (root / source).exists():
                    yield f"{name}: mounts {source}, which does not exist"
            elif source not in named:
                yield f"{name}: mounts {source}, which is no named volume"


def compose_problems(root: Path) -> list[str]:
    """Return everything that is wrong with the compose file."""
    compose = load(root / COMPOSE)
    example = (root / ".env.example").read_text(encoding="utf-8")
    problems = [*undefined_variables(compose, example), *undocumented_variables(compose, example)]
    for name, service in compose["services"].items():
        problems += service_problems(name, service, compose["services"])
        build = service.get("build")
        if build and not (root / build["context"] / build["dockerfile"]).is_file():
            problems.append(f"{name}: {build['dockerfile']} does not exist")
    return [*problems, *volume_problems(compose, root)]


def instructions(dockerfile: str) -> list[list[str]]:
    """Split a Dockerfile into instructions of words; comments dropped, continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [
        shlex.split(line) if not line.startswith(("CMD", "ENTRYPOINT")) else line.split(maxsplit=1)
        for line in joined.splitlines()
        if line.strip()
    ]


def dockerfile_problems(root: Path) -> list[str]:
    """Return everything that is wrong with the Dockerfile."""
    problems: list[str] = []
    found = instructions((root / DOCKERFILE).read_text(encoding="utf-8"))
    ignored = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for instruction, *words in found:
        if instruction == "FROM" and (problem := unpinned_image(words[0])) is not None:
            problems.append(f"FROM: {problem}")
        if instruction == "COPY" and not words[0].startswith("--from="):
            for source in words[:-1]:
                if not (root / source).exists():
                    problems.append(f"COPY: {source} does not exist")
                if is_ignored(source, ignored):
                    problems.append(f"COPY: {source} is kept out by .dockerignore")
    users = [words[0] for instruction, *words in found if instruction == "USER"]
    if not users or users[-1].split(":")[0] in ("root", "0"):
        problems.append("USER: the image runs as root")
    if not any(instruction == "HEALTHCHECK" for instruction, *_ in found):
        problems.append("HEALTHCHECK: there is none")
    return problems


def is_ignored(path: str, rules: Sequence[str]) -> bool:
    """Whether .dockerignore keeps a path out; the last rule that fits it or a folder above it decides."""
    parts = path.strip("/").split("/")
    above = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    out = False
    for rule in rules:
        pattern = rule.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps = pattern.startswith("!")
        if any(fnmatch.fnmatchcase(candidate, pattern.lstrip("!").strip("/")) for candidate in above):
            out = not keeps
    return out


def tool_problems(root: Path) -> list[str]:
    """Run the schema checks and hadolint, which come with the development packages."""
    folder = Path(sys.executable).parent
    manifests = sorted(str(path) for path in (root / KUBERNETES).glob("*.yaml"))
    commands = (
        [str(folder / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE],
        [str(folder / "hadolint"), DOCKERFILE],
        [str(folder / "kubernetes-validate"), "--strict", "--quiet", *manifests],
    )
    problems = []
    for command in commands:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            problems.append(f"{Path(command[0]).name}: {(done.stdout + done.stderr).strip()}")
    return problems


def main(arguments: Sequence[str]) -> int:
    """Print every problem; 1 when there are any."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    problems = [*compose_problems(root), *dockerfile_problems(root), *tool_problems(root)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
