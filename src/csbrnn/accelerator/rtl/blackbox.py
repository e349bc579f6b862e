"""A part that exists many times and is emitted once."""

from __future__ import annotations

from typing import Any, Protocol

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from csbrnn.accelerator.arch import Arch

__all__ = ["part"]


class _Kind(Protocol):
    """A component class whose ports are known before there is a component."""

    def __call__(self, arch: Arch) -> wiring.Component: ...

    @staticmethod
    def ports(arch: Arch) -> dict[str, wiring.Member]: ...


def part(kind: _Kind, arch: Arch, module: str | None) -> Any:
    """Return a component, or an instance of ``module``, which is emitted from its like.

    Amaranth writes every submodule out again for every place where it stands; 128 streams would be
    128 times the text. An instance can't be simulated by Amaranth's own simulator, though.
    """
    return kind(arch) if module is None else _Instance(kind.ports(arch), module)


class _Instance(wiring.Component):
    def __init__(self, ports: dict[str, wiring.Member], module: str) -> None:
        self._module = module
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        ports: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, value in self.signature.flatten(self):
            direction = "i" if member.flow is In else "o"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = value
        m = Module()
        m.submodules.instance = Instance(self._module, **ports)
        return m
