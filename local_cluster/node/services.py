"""Which addresses of Services lead where, what they are called, and the variables that name them. Pure.

The API server refuses EndpointSlices with loopback addresses, so Services are matched with pods here, by their
selector and the pods' Ready condition. TCP only; sessionAffinity is ignored, every connection takes the next
endpoint; an ExternalName has no address and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
Address = tuple[str, int]
API_SERVICE = ("default", "kubernetes")
DOMAIN = "cluster.local"


def is_ready(pod: Object) -> bool:
    """Whether a pod may be given connections."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def backends(service: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods of a Service that may be given connections, in an order that stays."""
    selector = service["spec"].get("selector")
    if not selector:
        return []
    early = service["spec"].get("publishNotReadyAddresses", False)
    found = [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == service["metadata"]["namespace"]
        and selector.items() <= (pod["metadata"].get("labels") or {}).items()
        and (pod.get("status") or {}).get("podIP")
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        and (early or is_ready(pod))
    ]
    return sorted(found, key=lambda pod: str(pod["metadata"]["uid"]))


def target_port(pod: Object, port: Object) -> int | None:
    """Where a pod listens for a Service's port; None if the port's name is none of the pod's."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]:
        for named in container.get("ports") or []:
            if named.get("name") == target:
                return int(named["containerPort"])
    return None


def addresses(service: Object) -> list[str]:
    """A Service's own addresses; none for a headless one."""
    spec = service["spec"]
    return [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP", "")] if ip and ip != "None"]


def identity(service: Object) -> tuple[str, str]:
    """Namespace and name."""
    return service["metadata"]["namespace"], service["metadata"]["name"]


def routes(services: Iterable[Object], pods: Sequence[Object], api: Address) -> dict[Address, tuple[Address, ...]]:
    """Where connections to each Service's address go: none when nobody is ready."""
    found: dict[Address, tuple[Address, ...]] = {}
    for service in services:
        ready = backends(service, pods)
        for port in service["spec"].get("ports") or []:
            if port.get("protocol", "TCP") != "TCP":
                continue
            ends = tuple((p["status"]["podIP"], n) for p in ready if (n := target_port(p, port)) is not None)
            if identity(service) == API_SERVICE:
                ends = (api,)
            for ip in addresses(service):
                found[ip, int(port["port"])] = ends
    return found


def _names(name: str, namespace: str, seen_from: str) -> str:
    full = [f"{name}.{namespace}.svc.{DOMAIN}", f"{name}.{namespace}.svc", f"{name}.{namespace}"]
    return " ".join([*full, *([name] if namespace == seen_from else [])])


def host_lines(services: Iterable[Object], pods: Sequence[Object], seen_from: str) -> list[str]:
    """The lines of /etc/hosts for all Services, as a pod of one namespace sees them."""
    lines = []
    for service in sorted(services, key=identity):
        namespace, name = identity(service)
        lines += [f"{ip} {_names(name, namespace, seen_from)}" for ip in addresses(service)]
        if service["spec"].get("clusterIP") != "None":
            continue
        for pod in backends(service, pods):
            lines.append(f"{pod['status']['podIP']} {_names(name, namespace, seen_from)}")
            if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == name:
                own = f"{pod['spec']['hostname']}.{name}"
                lines.append(f"{pod['status']['podIP']} {_names(own, namespace, seen_from)}")
    return lines


def _variables(service: Object) -> dict[str, str]:
    ports, ips = service["spec"].get("ports") or [], addresses(service)
    if not ports or not ips:
        return {}
    prefix = service["metadata"]["name"].upper().replace("-", "_")
    first = f"{ports[0].get('protocol', 'TCP').lower()}://{ips[0]}:{ports[0]['port']}"
    found = {
        f"{prefix}_SERVICE_HOST": ips[0],
        f"{prefix}_SERVICE_PORT": str(ports[0]["port"]),
        f"{prefix}_PORT": first,
    }
    for port in ports:
        protocol = port.get("protocol", "TCP")
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        link = f"{prefix}_PORT_{port['port']}_{protocol}"
        found[link] = f"{protocol.lower()}://{ips[0]}:{port['port']}"
        found |= {f"{link}_PROTO": protocol.lower(), f"{link}_PORT": str(port["port"]), f"{link}_ADDR": ips[0]}
    return found


def variables(services: Iterable[Object], pod: Object, api: Address) -> dict[str, str]:
    """The variables by which a pod's containers find Services: those of its namespace, and the API server.

    The API server is named at its own address, so that it is found where nobody may listen on port 443.
    """
    found: dict[str, str] = {}
    if pod["spec"].get("enableServiceLinks", True):
        for service in sorted(services, key=identity):
            if identity(service)[0] == pod["metadata"]["namespace"] and identity(service) != API_SERVICE:
                found |= _variables(service)
    return found | {
        "KUBERNETES_SERVICE_HOST": api[0],
        "KUBERNETES_SERVICE_PORT": str(api[1]),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(api[1]),
    }
