"""What the figures of the anisotropic problem share: the forms of the limit equation, their styles and labels."""

import xarray as xr

from meanfield import io, plotting

FORMS = {
    "finite": ("exact in $d$, $s_0$", "limit", "--"),
    "first_order": (r"first order in $1/s_0$", "formula", (0, (1, 1))),
    "infinite": (r"$d = \infty$", "infinite", "-."),
}


def blocks(limits: xr.Dataset) -> dict[str, dict]:
    """Return the settings of the limit equations in a dataset, by their names, exact ones first."""
    found = {name: block["settings"] for name, block in io.parameters(limits)["limits"].items()}
    order = list(FORMS)
    return {
        name: found[name]
        for name in sorted(
            found,
            key=lambda name: (found[name].get("step_size", 0) or 0, order.index(found[name]["limit"]), name),
        )
    }


def comparable(limits: xr.Dataset, step_size: float) -> dict[str, dict]:
    """Return the limit equations that a run of a step size is compared with: those without a step, or with its own."""
    return {
        name: settings
        for name, settings in blocks(limits).items()
        if not settings.get("step_size") or abs(settings["step_size"] / step_size - 1) < 1e-9
    }


def label(settings: dict) -> str:
    """Return what a limit equation is called in a legend."""
    words = FORMS[settings["limit"]][0]
    step = settings.get("step_size")
    return rf"{words}, step noise of $\varepsilon =${plotting.power(step)}" if step else words


def style(settings: dict) -> dict:
    """Return colour and line of a limit equation; with a step size in it, one of its own."""
    if settings.get("step_size"):
        return {"color": "#CC79A7", "linestyle": (0, (5, 1, 1, 1, 1, 1))}
    _, colour, line = FORMS[settings["limit"]]
    return {"color": plotting.COLOURS[colour], "linestyle": line}


def marker(settings: dict) -> str:
    """Return the marker of a limit equation."""
    return "P" if settings.get("step_size") else "sD^"[list(FORMS).index(settings["limit"])]
