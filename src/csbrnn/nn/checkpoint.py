"""`load_module`: the torch module that a command line names, with the weights of a checkpoint."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.nn.infer import module_from_state

__all__ = ["load_module"]

#: What wrappers (DataParallel, torch.compile) put before every name.
_WRAPPERS = ("module.", "_orig_mod.")
#: Where training scripts put the state_dict in a checkpoint that holds more.
_NESTED = ("state_dict", "model_state_dict", "model")


def load_module(
    spec: str, checkpoint: str | Path | None = None, *, trust: bool = False
) -> nn.Module:
    """Loads a module, completely or not at all.

    Args:
        spec: ``package.module:name``, where name is a module or a callable that makes one without
            arguments (importing runs that code); or the path of a file: a whole pickled module,
            or a state_dict whose names and shapes tell the network.
        checkpoint: A file with the weights: a state_dict, or a dictionary that holds one under
            "state_dict", "model_state_dict" or "model". Read without running code from it.
        trust: Whether to unpickle a whole module, which runs code from the file.

    Returns:
        The module in evaluation mode.

    Raises:
        ArgumentError: The spec names nothing usable, or the file needs ``trust``.
        FormatError: The file can't be read, or its weights are not the module's: all missing,
            unexpected and misshapen ones are listed.
    """
    path = Path(spec)
    if path.exists() or ":" not in spec:
        if checkpoint is not None:
            raise ArgumentError(
                f"a checkpoint goes with a module named as package.module:name, not with {spec!r}"
            )
        module = _from_file(path, trust=trust)
    else:
        module = _from_code(spec)
        if checkpoint is not None:
            try:
                state = _read_state(Path(checkpoint))
            except pickle.UnpicklingError as error:
                raise ArgumentError(
                    f"{checkpoint} must be a plain state_dict; it holds Python objects, which are "
                    "not loaded because that can run any code: save model.state_dict()"
                ) from error
            _fill(module, state, Path(checkpoint))
    return module.eval()


def _from_code(spec: str) -> nn.Module:
    module_name, _, attribute = spec.partition(":")
    # As `python -m` does: scripts of commands don't look in the current directory.
    with _importable_from_here() as here:
        try:
            found: Any = importlib.import_module(module_name)
            for name in attribute.split("."):
                found = getattr(found, name)
        except Exception as error:  # importing runs others' code, which raises what it likes
            raise ArgumentError(
                f"{spec!r} must name a torch module as package.module:name, found from {here} or on"
                f" PYTHONPATH ({type(error).__name__}: {error})"
            ) from error
    if not isinstance(found, nn.Module) and callable(found):
        try:
            found = found()
        except TypeError as error:
            raise ArgumentError(
                f"{spec!r} is called without arguments ({error}); name a function that makes the "
                "module with the arguments it needs"
            ) from error
    if not isinstance(found, nn.Module):
        raise ArgumentError(f"{spec!r} must give a torch module, not {type(found).__name__}")
    return found


def _from_file(path: Path, *, trust: bool) -> nn.Module:
    try:
        return module_from_state(_read_state(path), str(path))
    except pickle.UnpicklingError as error:
        if not trust:
            raise ArgumentError(
                f"{path} is not a plain state_dict but holds Python objects (or is no torch file): "
                "loading it can run any code its author chose. If you trust where it comes from, "
                "load it with trust=True (--trust); safer is a state_dict with package.module:name"
            ) from error
    with _importable_from_here() as here:  # where the module's own code is likely to be
        try:
            found = torch.load(path, map_location="cpu", weights_only=False)
        except Exception as error:  # unpickling runs others' code, which raises what it likes
            raise ArgumentError(
                f"{path} can't be loaded ({type(error).__name__}: {error}): its classes must be"
                f" found from {here} or on PYTHONPATH, under the names that they had when it was"
                " saved. Safer is a state_dict: csbrnn pack package.module:name --checkpoint FILE"
            ) from error
    if not isinstance(found, nn.Module):
        raise FormatError(f"{path} must hold a torch module, not {type(found).__name__}")
    return found


@contextmanager
def _importable_from_here() -> Iterator[str]:
    """Let imports find modules in the current directory, after all other places."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield here
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _read_state(path: Path) -> dict[str, Tensor]:
    """The state_dict in a file, read without running code from it."""
    if not path.is_file():
        raise ArgumentError(f"{path} is no file; a module in code is package.module:name")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error) or "it is empty"
        raise FormatError(f"{path} is not a file that torch.save wrote: {reason}") from error
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found:
        raise FormatError(f"{path} must hold a state_dict, not {type(found).__name__}")
    wrong = [f"{k!r}: {type(v).__name__}" for k, v in found.items() if not isinstance(v, Tensor)]
    if wrong:
        keys = ", ".join(_NESTED)
        raise FormatError(
            f"{path} must hold a state_dict (name -> tensor), alone or under one of {keys}; it "
            f"has {'; '.join(wrong[:8])}"
        )
    return dict(found)


def _fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Loads a state_dict whose names and shapes are exactly the module's."""
    own = module.state_dict()
    while not own.keys() & state.keys():  # wrappers may be wrapped
        wrapper = next((w for w in _WRAPPERS if all(n.startswith(w) for n in state)), None)
        if wrapper is None:
            break
        state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    lines = [f"missing: {name}" for name in own.keys() - state.keys()]
    lines += [f"unexpected: {name}" for name in state.keys() - own.keys()]
    lines += [
        f"{name} has shape {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    lines += [
        f"{name} is {state[name].dtype}, not {own[name].dtype}: its values would be rounded, or"
        " read without their scale; convert it where it was made"
        for name in own.keys() & state.keys()
        if not _is_exact(state[name].dtype, own[name].dtype)
    ]
    if lines:
        listed = "\n".join(f"  - {line}" for line in sorted(lines))
        raise FormatError(
            f"{path} does not hold the weights of {type(module).__name__}; nothing is loaded:\n"
            + listed
        )
    module.load_state_dict(state)


def _is_exact(source: torch.dtype, target: torch.dtype) -> bool:
    """Whether every value of a type is one of the other."""
    half = source in (torch.float16, torch.bfloat16)
    return source == target or (half and target in (torch.float32, torch.float64))
